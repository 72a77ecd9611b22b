import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.dots import BareDot, DotStuffer

BARE_DOT = re.compile(rb"\r\.|(?<!\r)\n\.")

nasty = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n."]), max_size=12).map(b"".join)
cuts = st.lists(st.integers(0, 20), max_size=6)


def pieces(content: bytes, at: list[int]) -> list[bytes]:
    ends = [*sorted(min(cut, len(content)) for cut in at), len(content)]
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def stuffed(content: bytes, at: list[int]) -> bytes:
    stuffer = DotStuffer()
    return b"".join([*(stuffer.stuff(piece) for piece in pieces(content, at)), stuffer.end()])


@given(nasty.filter(lambda content: not BARE_DOT.search(content)), cuts)
def test_a_strict_receiver_gets_back_what_was_stuffed_however_it_was_cut(content: bytes, at: list[int]) -> None:
    wire = b"\r\n" + stuffed(content, at)
    end = wire.find(b"\r\n.\r\n")
    assert end == len(wire) - 5, f"the message ends at {end} of {len(wire)}"
    received = wire[: end + 2].replace(b"\r\n.", b"\r\n")[2:]
    missing_line_end = b"" if content.endswith(b"\r\n") or not content else b"\r\n"
    assert received == content + missing_line_end


@given(nasty.filter(BARE_DOT.search), cuts)
def test_a_dot_behind_a_bare_line_end_is_refused_however_it_was_cut(content: bytes, at: list[int]) -> None:
    with pytest.raises(BareDot):
        stuffed(content, at)


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a.\r\n", b"a.\r\n.\r\n"),
        (b"no line end", b"no line end\r\n.\r\n"),
    ],
)
def test_lines_that_begin_with_a_dot_get_another(content: bytes, wire: bytes) -> None:
    assert stuffed(content, []) == wire
