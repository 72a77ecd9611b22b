import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp.replies import MAX_LINE_OCTETS, MAX_TEXT, Garbled, ReplyReader, printable


def read(*pieces: bytes) -> list[Reply]:
    reader = ReplyReader()
    return [reply for piece in pieces for reply in reader.feed(piece)]


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0 Ok")),
        (b"250\r\n", Reply(250, "")),
        (b"250 \r\n", Reply(250, "")),
        (b"354 Go on\n", Reply(354, "Go on")),
        (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", Reply(550, "5.1.1 no such 5.1.1 user")),
        (b"250-\r\n250\r\n", Reply(250, "")),
        ("250 größer\r\n".encode(), Reply(250, "größer")),
    ],
)
def test_a_reply_is_read(octets: bytes, reply: Reply) -> None:
    assert read(octets) == [reply]


def test_a_reply_of_several_lines_keeps_them_apart_too() -> None:
    (reply,) = read(b"550-5.1.1 no such\r\n550-\r\n550 user \x07\r\n")
    assert reply.lines == ("5.1.1 no such", "", "user \\x07")


@given(st.lists(st.integers(0, 40), max_size=5))
def test_replies_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    octets = b"250-a\r\n250 b\r\n354 c\r\n550 d\r\n"
    ends = [*sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    pieces = [octets[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert read(*pieces) == [Reply(250, "a b"), Reply(354, "c"), Reply(550, "d")]


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n",
        b"25\r\n",
        b"2500 ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"250_ok\r\n",
        b" 250 ok\r\n",
        b"250-a\r\n251 b\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\xff\xfe\xfd\r\n",
    ],
)
def test_what_is_no_reply_is_refused(octets: bytes) -> None:
    with pytest.raises(Garbled):
        read(octets)


def test_a_sound_reply_before_garbage_is_still_read() -> None:
    reader = ReplyReader()
    replies = []
    with pytest.raises(Garbled):
        for reply in reader.feed(b"250 ok\r\ngarbage\r\n"):
            replies.append(reply)
    assert replies == [Reply(250, "ok")]


def test_a_line_without_an_end_is_refused_before_it_grows() -> None:
    reader = ReplyReader()
    fed = 0
    with pytest.raises(Garbled):
        while fed < 10 * MAX_LINE_OCTETS:
            list(reader.feed(b"2" * 1000))
            fed += 1000
    assert fed <= MAX_LINE_OCTETS


def test_a_reply_of_endless_lines_is_refused_before_it_grows() -> None:
    reader = ReplyReader()
    lines = 0
    with pytest.raises(Garbled):
        while lines < 10_000:
            list(reader.feed(b"250-and so on, and so on, and so on\r\n"))
            lines += 1
    assert lines < 1000


def test_the_text_of_a_reply_is_cut_to_what_can_be_kept() -> None:
    assert len(read(b"250 " + b"x" * 4000 + b"\r\n")[0].text) == MAX_TEXT


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"plain", "plain"),
        (b"a\x00b\x1b[31m", r"a\x00b\x1b[31m"),
        (b"\xff", r"\xff"),
        ("\u202e".encode(), r"\u202e"),
        ("\u2028".encode(), r"\u2028"),
    ],
)
def test_what_is_not_printable_is_escaped(octets: bytes, text: str) -> None:
    assert printable(octets) == text
