"""Content off the wire: byte for byte, one end and one end only, however the octets are cut into packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.content import END, ContentReader, LineLimit, Untrusted

LINES = st.lists(st.binary(max_size=40).map(lambda line: bytes(o for o in line if o not in b"\r\n\0")), max_size=12)
CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=200)


def read(wire: bytes, cuts: list[int] | None = None) -> tuple[bytes, bytes]:
    """The content read off this wire, handed over in pieces of the given sizes, and what stood behind its end."""
    got: list[bytes] = []
    reader = ContentReader(got.append)
    position, turn = 0, 0
    while position < len(wire):
        size = cuts[turn % len(cuts)] if cuts else len(wire)
        rest = reader.feed(wire[position : position + size])
        position, turn = position + size, turn + 1
        if rest is not None:
            return b"".join(got), rest + wire[position:]
    raise EOFError("the end of data never came")


@given(LINES, CUTS)
def test_content_arrives_byte_for_byte_in_whatever_packets(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    wire = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert read(wire + b".\r\nRSET\r\n", cuts) == (content, b"RSET\r\n")


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..\r\n...\r\n.\r\n", b"a\r\n.\r\n..\r\n"),
        (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n"),
    ],
)
def test_dots_at_the_start_of_a_line_are_unstuffed_once(wire: bytes, content: bytes) -> None:
    for size in range(1, len(wire) + 1):
        assert read(wire, [size]) == (content, b"")


def test_large_content_is_handed_on_as_it_comes() -> None:
    pieces: list[bytes] = []
    reader = ContentReader(pieces.append)
    line = b"x" * 76 + b"\r\n"
    for count in range(1, 1001):
        assert reader.feed(line) is None
        assert len(b"".join(pieces)) >= count * len(line) - len(END)


@pytest.mark.parametrize(
    "bad",
    [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"a\0b", b"\r\r\n", b"\n\r\n", b"x\n", b"\n"],
)
def test_bare_cr_lf_and_nul_are_refused(bad: bytes) -> None:
    wire = b"Subject: x\r\n\r\nfirst" + bad + b"MAIL FROM:<evil@example.net>\r\nsecond\r\n.\r\n"
    for size in (1, 2, 3, 5, 7, len(wire)):
        with pytest.raises(Untrusted):
            read(wire, [size])


@given(st.binary(max_size=60), CUTS)
def test_any_octets_are_either_refused_or_read_as_one_message(junk: bytes, cuts: list[int]) -> None:
    wire = junk + b"\r\n.\r\n"
    end = (b"\r\n" + wire).index(END)
    lines = wire[:end].split(b"\r\n")
    try:
        content, rest = read(wire, cuts)
    except Untrusted:
        assert any(octet in line for line in junk.split(b"\r\n") for octet in b"\r\n\0")
        return
    assert content == b"\r\n".join(line.removeprefix(b".") for line in lines)
    assert rest == wire[end + len(END) - 2 :]


def test_content_without_an_end_is_no_message() -> None:
    with pytest.raises(EOFError):
        read(b"Subject: x\r\n\r\nhalf\r\n.")


# Lines ----------------------------------------------------------------------------------------------------------


def breaks(content: bytes, cuts: list[int], limit: int) -> bool:
    lines, position, turn = LineLimit(limit), 0, 0
    while position < len(content):
        size = cuts[turn % len(cuts)]
        if lines.is_broken_by(content[position : position + size]):
            return True
        position, turn = position + size, turn + 1
    return False


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 25), CUTS)
def test_a_line_is_too_long_by_its_octets_without_crlf_in_whatever_pieces(
    lengths: list[int], limit: int, cuts: list[int]
) -> None:
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert breaks(content, cuts, limit) == any(length > limit for length in lengths)


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_a_line_of_998_octets_is_within_the_limit_of_998_and_one_of_999_is_not(size: int) -> None:
    assert not breaks((b"x" * 998 + b"\r\n") * 3, [size], 998)
    assert breaks(b"x" * 998 + b"\r\n" + b"x" * 999 + b"\r\n", [size], 998)


def test_a_line_that_never_ends_is_noticed_as_soon_as_it_is_too_long() -> None:
    lines = LineLimit(998)
    assert not lines.is_broken_by(b"x" * 1000)
    assert lines.is_broken_by(b"x")
