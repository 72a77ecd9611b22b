"""Clients that keep a server busy without getting anywhere: many in the middle of a message, many that say nothing.

They come from many addresses of 127.0.0.0/8, as many clients do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from tests.bench.load import Void

PIECE = (b"X" * 78 + b"\r\n") * 800  # 64 kB
CLIENTS_A_NETWORK = 100
TOGETHER = 100
REPLY_SECONDS = 300.0


def source_address(number: int) -> str:
    """One of its own for each, a hundred in each /24."""
    network, host = divmod(number, CLIENTS_A_NETWORK)
    return f"127.1.{network}.{host + 1}"


@dataclass(frozen=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, port: int, number: int) -> Client:
        """Greeted, and EHLO said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source_address(number), 0))
        client = cls(reader, writer)
        await client.hear(b"220")
        await client.say(b"EHLO sender.test\r\n", b"250")
        return client

    async def say(self, line: bytes, expected: bytes) -> None:
        self.writer.write(line)
        await self.hear(expected)

    async def hear(self, expected: bytes) -> None:
        async with asyncio.timeout(REPLY_SECONDS):
            reply = await self.reader.readline()
            while reply[3:4] == b"-":
                reply = await self.reader.readline()
        if not reply.startswith(expected):
            raise Void(f"expected {expected.decode()}, got {reply!r}")

    async def begin(self, recipient: str) -> None:
        await self.say(b"MAIL FROM:<a@sender.test>\r\n", b"250")
        await self.say(b"RCPT TO:<" + recipient.encode() + b">\r\n", b"250")
        await self.say(b"DATA\r\n", b"354")

    async def send(self, octets: int) -> None:
        """Content, at the server's pace: everybody else gets on in between."""
        while octets > 0:
            self.writer.write(PIECE[:octets])
            octets -= len(PIECE)
            await self.writer.drain()

    async def end(self) -> None:
        await self.say(b"\r\n.\r\n", b"250")


@contextlib.asynccontextmanager
async def connected(port: int, clients: int) -> AsyncIterator[list[Client]]:
    """So many connections; a few are made at a time."""
    made: list[Client] = []
    try:
        for first in range(0, clients, TOGETHER):
            numbers = range(first, min(first + TOGETHER, clients))
            made += await asyncio.gather(*(Client.connect(port, number) for number in numbers))
        yield made
    finally:
        for client in made:
            client.writer.close()


async def hold_messages(port: int, messages: int, size: int, recipient: str, while_held: Callable[[], None]) -> None:
    """All in flight together, with nothing but their end lacking; then all of them end, and get 250."""
    async with connected(port, messages) as clients:
        await asyncio.gather(*(client.begin(recipient) for client in clients))
        await asyncio.gather(*(client.send(size) for client in clients))
        await asyncio.to_thread(while_held)
        await asyncio.gather(*(client.end() for client in clients))


async def hold_idle(port: int, clients: int, recipient: str, while_held: Callable[[], None]) -> None:
    """All connected and silent; then one more comes and must get a message through, and after it one of them."""
    async with connected(port, clients) as idle:
        await asyncio.to_thread(while_held)
        for client in (await Client.connect(port, clients), idle[0]):
            await client.begin(recipient)
            await client.send(1000)
            await client.end()
