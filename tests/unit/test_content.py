"""Content off the wire: byte for byte, one end and one end only, however the octets are cut into packets."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.content import BLOCK, END, Untrusted, WireReader, read_content

LINES = st.lists(st.binary(max_size=40).map(lambda line: bytes(o for o in line if o not in b"\r\n\0")), max_size=12)
CUTS = st.lists(st.integers(1, 9), min_size=1, max_size=200)


def read(wire: bytes, cuts: list[int] | None = None) -> tuple[bytes, bytes]:
    """The content read off this wire, handed over in pieces of the given sizes, and what was left for later."""

    async def run() -> tuple[bytes, bytes]:
        reader = WireReader(limit=1024)
        got: list[bytes] = []

        async def feed() -> None:
            position, turn = 0, 0
            while position < len(wire):
                size = cuts[turn % len(cuts)] if cuts else len(wire)
                reader.feed_data(wire[position : position + size])
                position, turn = position + size, turn + 1
                await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.create_task(feed())
        await read_content(reader, got.append, lambda octets: None)
        await feeding
        return b"".join(got), await reader.read()

    return asyncio.run(run())


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


def test_content_larger_than_a_block_is_handed_on_in_pieces() -> None:
    content = (b"x" * 76 + b"\r\n") * (3 * BLOCK // 78)
    pieces: list[bytes] = []

    async def run() -> None:
        reader = WireReader(limit=1024)
        reader.feed_data(content + b".\r\n")
        await read_content(reader, pieces.append, lambda octets: None)

    asyncio.run(run())
    assert b"".join(pieces) == content
    assert len(pieces) > 1


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


def test_a_stream_that_ends_first_is_no_message() -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        read(b"Subject: x\r\n\r\nhalf\r\n.")


def test_pushed_back_octets_are_read_again() -> None:
    async def run() -> bytes:
        reader = WireReader()
        reader.feed_data(b"c\r\n")
        reader.push_back(b"ab")
        return await reader.readuntil(b"\n")

    assert asyncio.run(run()) == b"abc\r\n"
