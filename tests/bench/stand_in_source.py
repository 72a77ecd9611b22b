"""A small stand-in for smtp-source: `stand_in_source PORT MESSAGES SESSIONS SIZE RECIPIENT REUSE`.

Exit status 0 means that every message was answered with 250. Like smtp-source it does not pipeline.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes, expected: bytes) -> None:
    writer.write(octets)
    reply = await reader.readline()
    while reply[3:4] == b"-":
        reply = await reader.readline()
    if not reply.startswith(expected):
        raise SystemExit(f"expected {expected.decode()} after {octets[:40]!r}, got {reply!r}")


async def _session(port: int, turns: Iterator[int], content: bytes, recipient: bytes, reuse: bool) -> None:
    """Takes turns until none is left: one connection for all of them, or one each."""
    for _ in turns:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _say(reader, writer, b"", b"220")
        await _say(reader, writer, b"HELO load.sender.test\r\n", b"250")
        more = True
        while more:
            await _say(reader, writer, b"MAIL FROM:<a@sender.test>\r\n", b"250")
            await _say(reader, writer, b"RCPT TO:<" + recipient + b">\r\n", b"250")
            await _say(reader, writer, b"DATA\r\n", b"354")
            await _say(reader, writer, content, b"250")
            more = reuse and next(turns, None) is not None
        await _say(reader, writer, b"QUIT\r\n", b"221")
        writer.close()


async def _send(port: int, messages: int, sessions: int, size: int, recipient: str, reuse: bool) -> None:
    line = b"X" * 78 + b"\r\n"
    content = b"Subject: load\r\n\r\n" + line * (size // len(line) + 1) + b".\r\n"
    turns = iter(range(messages))
    work = [_session(port, turns, content, recipient.encode(), reuse) for _ in range(sessions)]
    await asyncio.gather(*work)


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(_send(int(given[0]), int(given[1]), int(given[2]), int(given[3]), given[4], given[5] == "1"))
