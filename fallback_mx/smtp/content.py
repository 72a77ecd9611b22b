"""Reads message content off the wire: streaming, with a fixed memory, strict about line ends.

The end of data is CRLF.CRLF and nothing else (RFC 5321, section 4.1.1.4). A bare CR, a bare LF or a NUL anywhere
raises `Untrusted` at once: a server behind us might see another end there, and with it a second message that nobody
checked (SMTP smuggling). The caller then refuses and closes; what follows on that connection is never read as
commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

END = b"\r\n.\r\n"
BLOCK = 256 * 1024


class Untrusted(Exception):
    """The stream has an octet that different servers read differently. The text is for the sender."""


class WireReader(asyncio.StreamReader):
    """A StreamReader that can be asked what it holds, and takes back what was read too far."""

    _buffer: bytearray
    _eof: bool

    def has_line(self) -> bool:
        """Whether a whole line, or the end of the stream, can be had without waiting."""
        return self._eof or b"\n" in self._buffer

    def push_back(self, data: bytes | bytearray) -> None:
        self._buffer[:0] = data

    def discard(self) -> None:
        """Forget what came and was not read yet (RFC 3207, section 4.2)."""
        self._buffer.clear()


async def read_content(reader: WireReader, write: Callable[[bytes], None], on_block: Callable[[int], None]) -> None:
    """Read content up to its end and hand it to `write`, dots unstuffed, in blocks.

    `on_block` is told the octets of each block before it is looked at: it resets timers and may raise. Raises
    Untrusted, asyncio.IncompleteReadError where the stream ends first, and whatever `write` or `on_block` raise.
    """
    # The two octets before what is not yet handed on stay in front: the line end that a dot needs to be stuffing.
    # The content begins as if behind a line end, so that a lone dot at once is its end.
    pending = bytearray(b"\r\n")
    while True:
        block = await reader.read(BLOCK)
        if not block:
            raise asyncio.IncompleteReadError(bytes(pending[2:]), None)
        on_block(len(block))
        searched = max(0, len(pending) - len(END) + 1)
        pending += block
        end = pending.find(END, searched)
        if end >= 0:
            reader.push_back(pending[end + len(END) :])
            write(_plain(bytes(pending[: end + 2])))
            return
        cut = len(pending) - len(END) + 1
        if cut > 2:
            write(_plain(bytes(pending[:cut])))
            del pending[: cut - 2]


def _plain(octets: bytes) -> bytes:
    """Check a piece and take its dot-stuffing away. The first two octets are context and not part of the result."""
    # A CR or LF at the very edge is half of a pair whose other half stands in the neighbouring piece.
    start = 1 if octets.startswith(b"\n") else 0
    stop = len(octets) - 1 if octets.endswith(b"\r") else len(octets)
    rest = octets[start:stop].replace(b"\r\n", b"")
    if b"\n" in rest:
        raise Untrusted("bare LF in the message: lines must end with CRLF")
    if b"\r" in rest:
        raise Untrusted("bare CR in the message: lines must end with CRLF")
    if b"\0" in rest:
        raise Untrusted("NUL in the message")
    return octets.replace(b"\r\n.", b"\r\n")[2:]
