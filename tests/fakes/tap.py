"""A TCP proxy in front of an SMTP server that keeps what clients put on the wire: what a mail server really sent.

It changes nothing and knows no more of SMTP than where content begins and ends (RFC 5321, section 4.1.1.4); it reads no
TLS and no BDAT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.fakes.loop_thread import LoopThread


@dataclass
class TappedTransaction:
    """From MAIL to the reply to the final dot. `content` is without dot-stuffing and without the final dot."""

    mail: str
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""
    reply: str = ""

    @property
    def reverse_path(self) -> str:
        return self.mail.partition("<")[2].partition(">")[0]

    @property
    def parameters(self) -> set[str]:
        return set(self.mail.partition(">")[2].upper().split())


class Tap:
    """Listens on `port` and passes everything on to another port of 127.0.0.1."""

    def __init__(self, upstream: int) -> None:
        self.taken: list[TappedTransaction] = []
        self.port = 0
        self._upstream = upstream
        self._thread = LoopThread()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.do(self._stop())
        self._thread.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        conversation = _Conversation(self.taken)
        writers = [writer]
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
            writers.append(server_writer)
            await asyncio.gather(
                _pass_on(reader, server_writer, conversation.client_says),
                _pass_on(server_reader, writer, conversation.server_says),
            )
        except OSError:
            pass  # no server, or one side was cut: so is the other
        finally:
            self._connections.discard(task)
            for each in writers:
                each.close()


class _Conversation:
    """One connection, read from both sides."""

    def __init__(self, taken: list[TappedTransaction]) -> None:
        self._taken = taken
        self._said = bytearray()
        self._replies = bytearray()
        self._transaction = TappedTransaction("")
        self._state = "commands"  # then "asked" for content, sending "content", "sent"
        self._scanned = 0

    def client_says(self, octets: bytes) -> None:
        self._said += octets
        self._read_on()

    def _read_on(self) -> None:
        """As far as it goes; what comes after content waits until that has been answered."""
        while self._state != "sent":
            if not (self._end_of_content() if self._state == "content" else self._next_command()):
                break

    def _next_command(self) -> bool:
        line, end, rest = self._said.partition(b"\r\n")
        if not end:
            return False
        self._said = rest
        verb = bytes(line[:4]).upper()
        if verb == b"MAIL":
            self._transaction = TappedTransaction(line.decode())
        elif verb == b"RCPT":
            self._transaction.recipients.append(line.decode())
        elif verb == b"DATA":
            self._state = "asked"
        return True

    def _end_of_content(self) -> bool:
        end = self._said.find(b"\r\n.\r\n", self._scanned)
        if end < 0:
            self._scanned = max(0, len(self._said) - 4)
            return False
        self._transaction.content = bytes(self._said[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        del self._said[: end + 5]
        self._state = "sent"
        return True

    def server_says(self, octets: bytes) -> None:
        self._replies += octets
        *lines, rest = self._replies.split(b"\r\n")
        self._replies = rest
        for line in lines:
            if self._state == "asked" and line.startswith(b"354"):
                self._state = "content"
                self._said[:0] = b"\r\n"  # that of the command: with it an empty content ends like any other
                self._scanned = 0
            elif self._state == "sent":
                self._state = "commands"
                self._transaction.reply = line.decode()
                if line.startswith(b"250"):
                    self._taken.append(self._transaction)
                self._read_on()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None]) -> None:
    """One direction, its end included: Exim closes its own with QUIT and still waits for the replies."""
    while octets := await reader.read(256 * 1024):
        note(octets)  # before it goes on, so that a reply never comes before its question
        writer.write(octets)
        await writer.drain()
    writer.write_eof()
