"""A primary's reply as the sender gets it: every word of it, and nothing that acts on anybody."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.disposition import Reply
from fallback_mx.rules.handing_on import handed_on
from fallback_mx.smtp.replies import ReplyReader

LINE = re.compile(rb"[245][0-9]{2}[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}(?: [\x20-\x7e]+)?\r\n")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(250, "2.1.5 Ok"), b"250 2.1.5 Ok\r\n"),
        (Reply(250, "fine"), b"250 2.1.0 fine\r\n"),
        (Reply(250, ""), b"250 2.1.0\r\n"),
        (Reply(450, "later"), b"450 4.0.0 later\r\n"),
        (Reply(550, "no", ("no",)), b"550 5.0.0 no\r\n"),
        (Reply(550, "5.7.1 a b", ("5.7.1 a", "b")), b"550-5.7.1 a\r\n550 5.7.1 b\r\n"),
        (Reply(550, "a b", ("a", "", "b")), b"550-5.0.0 a\r\n550-5.0.0\r\n550 5.0.0 b\r\n"),
        # A code of another class is text.
        (Reply(550, "2.1.0 Ok, but no"), b"550 5.0.0 2.1.0 Ok, but no\r\n"),
        (Reply(550, "5.7.1000 x"), b"550 5.0.0 5.7.1000 x\r\n"),
        (Reply(451, "4.3.0"), b"451 4.3.0\r\n"),
        (Reply(550, "5.1.1 r\x1b[31mred\r\n250 ok"), b"550 5.1.1 r\\x1b[31mred\\r\\n250 ok\r\n"),
        (Reply(550, "5.1.1 größer €"), b"550 5.1.1 gr\\xf6\\xdfer \\u20ac\r\n"),
    ],
)
def test_a_reply_is_handed_on_word_for_word(reply: Reply, expected: bytes) -> None:
    assert handed_on(reply, "2.1.0") == expected


def test_a_line_that_is_too_long_for_the_wire_goes_on_in_the_next() -> None:
    lines = handed_on(Reply(550, "5.1.1 " + "x" * 1200), "2.1.0").splitlines(keepends=True)
    assert [len(line) <= 512 for line in lines] == [True, True, True]
    assert b"".join(line[10:].rstrip() for line in lines) == b"x" * 1200
    assert [line[3:4] for line in lines] == [b"-", b"-", b" "]


replies = st.builds(
    lambda code, lines: Reply(code, " ".join(lines), tuple(lines)),
    st.sampled_from([250, 251, 354, 450, 552, 599]).filter(lambda code: code != 354),
    st.lists(st.text(max_size=600), min_size=1, max_size=5),
)


@given(replies)
def test_whatever_was_said_the_sender_gets_one_sound_reply(reply: Reply) -> None:
    said = handed_on(reply, "2.0.0")
    lines = said.splitlines(keepends=True)
    assert all(LINE.fullmatch(line) and len(line) <= 512 for line in lines), said
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]
    (read,) = ReplyReader().feed(said)
    assert read.code == reply.code
