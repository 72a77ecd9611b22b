"""A listener, a queue and a primary in proxy mode on one event loop, and a raw client to play a sender."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.smtp.commits import QueueCommits
from fallback_mx.smtp.dial import DialSettings
from fallback_mx.smtp.listener import Listener, ListenerSettings, Route
from fallback_mx.smtp.passage import PassageSettings
from fallback_mx.smtp.ports import open_ports
from fallback_mx.smtp.route import Destination, NextHop
from fallback_mx.smtp.sink import Answer, Sink, SinkSession
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from mxqueue import Envelope, LedgerEvent, Queue

PATIENT = Timeouts(5, 5, 5, 5, 5, 5, 1)
ONE = {"example.test": Route("main", WhenUp.PROXY)}
TWO = ONE | {"second.test": Route("second", WhenUp.PROXY), "open.test": Route("open", WhenUp.ACCEPT)}
BOUNDS = ("max_connections", "ready_seconds", "rest_seconds", "stalled_seconds")
LETTER = b"Subject: hello\r\n\r\nhello\r\n"


class Told:
    """What the listener told."""

    def __init__(self) -> None:
        self.proxied_messages: list[tuple[Envelope, int, str]] = []
        self.failures: list[tuple[str, bool]] = []
        self.refusals: list[tuple[str, str]] = []
        self.troubles: list[BaseException] = []

    def proxied(self, envelope: Envelope, size: int, reply: str) -> None:
        self.proxied_messages.append((envelope, size, reply))

    def proxy_failed(self, primary: str, detail: str, *, ambiguous: bool) -> None:
        self.failures.append((primary, ambiguous))

    def refused(self, client_address: str, domain: str, reason: str, reply: str) -> None:
        self.refusals.append((reason, reply))

    def session_limit(self, client_address: str, limit: str) -> None:
        self.refusals.append((limit, ""))

    def session_opened(self) -> None:
        pass

    def session_closed(self) -> None:
        pass

    def trouble(self, part: str, error: BaseException) -> None:
        self.troubles.append(error)


class Client:
    """A sender: it says what it is told to, and reads one reply at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def push(self, data: bytes) -> None:
        """Send without waiting for anybody to take it."""
        self._writer.write(data)

    @property
    def unsent_octets(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    async def reply(self) -> str:
        """One whole reply as it came, without its last CRLF; "" when the connection has ended."""
        lines: list[str] = []
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(ConnectionError):
                    line = await self._reader.readline()
                if not line:
                    return ""
                lines.append(line.decode("ascii").removesuffix("\r\n"))
                if line[3:4] != b"-":
                    return "\r\n".join(lines)

    async def say(self, command: str) -> str:
        await self.send(command.encode() + b"\r\n")
        return await self.reply()

    async def hello(self) -> Client:
        assert (await self.reply()).startswith("220 ")
        assert (await self.say("EHLO client.test")).startswith("250-")
        return self

    async def to_data(self, *recipients: str) -> Client:
        assert (await self.say("MAIL FROM:<a@sender.test>")).startswith("250 ")
        for recipient in recipients or ("u@example.test",):
            assert (await self.say(f"RCPT TO:<{recipient}>")).startswith("250 ")
        assert (await self.say("DATA")).startswith("354 ")
        return self

    async def deliver(self, content: bytes, *recipients: str) -> str:
        """The reply to the end of data."""
        await self.to_data(*recipients)
        await self.send(content + b".\r\n")
        return await self.reply()

    def half_close(self) -> None:
        self._writer.write_eof()

    def vanish(self) -> None:
        """Go with a reset: an end alone would be half a close, and leave it open whether the sender still listens."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Scene:
    """`sink` is the primary that every route leads to; `states` are the monitor's."""

    def __init__(self, queue: Queue, sink: Sink, spool_directory: Path, options: dict[str, Any]) -> None:
        self.queue = queue
        self.sink = sink
        self.told = Told()
        self._clients: list[Client] = []
        self.looks: list[str] = []
        self.states = {"main": State.UP, "second": State.UP, "open": State.UP}
        self._dial = DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=options.get("timeouts", PATIENT))
        self._bounds = {key: options[key] for key in BOUNDS if key in options}
        self._settings = ListenerSettings(
            hostname="mx2.test",
            routes=options.get("routes", ONE),
            max_message_size=options.get("max_message_size", 300_000_000),
            spool_directory=options.get("spool_directory", spool_directory),
        )
        self.listener = Listener(
            self._settings,
            QueueCommits(queue, lambda committed: None),
            state_of=lambda name: self.states[name],
            has_room=lambda size: True,
            events=self.told,
            clock=lambda: datetime.now(UTC),
            look=self.looks.append,
        )

    def lead_to(self, port: int, second: int | None = None) -> None:
        """The primaries are on this port, or the second on another."""
        main, other = (
            PassageSettings(self._dial, Destination((NextHop("127.0.0.1", each),)), **self._bounds)
            for each in (port, second or port)
        )
        self.listener.configure(replace(self._settings, passages={"main": main, "second": other}))

    async def start(self) -> None:
        await self.sink.start()
        self.lead_to(self.sink.port)
        ((port,),) = open_ports("127.0.0.1", 0)
        await self.listener.start([port])

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        await self.listener.stop(5.0)
        await self.sink.stop()
        # What the sink cut is noticed at the other end in the loop's next turns.
        await asyncio.sleep(0.01)

    async def client(self, address: str = "127.0.0.1") -> Client:
        """One that comes from this address."""
        host, port = self.listener.addresses[0]
        connection = await asyncio.open_connection(host, port, limit=2**20, local_addr=(address, 0))
        self._clients.append(Client(*connection))
        return await self._clients[-1].hello()

    async def queued(self) -> list[bytes]:
        """The content of everything in the queue, in order of arrival."""
        messages = await asyncio.wrap_future(self.queue.list())
        contents = [await asyncio.wrap_future(self.queue.content(message.id)) for message in messages]
        return [b"".join(content.chunks()) for content in contents]

    async def ledger(self) -> list[LedgerEvent]:
        """What the ledger says of the one message that is queued."""
        (message,) = await asyncio.wrap_future(self.queue.list())
        _, rows = await asyncio.wrap_future(self.queue.show(message.id))
        return [row.event for row in rows]


Story = Callable[[Scene], Coroutine[Any, Any, None]]
Play = Callable[..., None]
"""Runs a story; see the fixture `play`."""


async def until(fact: Callable[[], bool]) -> None:
    while not fact():
        await asyncio.sleep(0.01)


def in_turn(*answers: Answer) -> Callable[[SinkSession, str], Answer]:
    """A script that gives each of these once, and then what the sink says by itself."""
    left = list(answers)
    return lambda session, argument: left.pop(0) if left else None


@contextlib.asynccontextmanager
async def playing(queue: Queue, tmp_path: Path, sink: Sink | None = None, **options: Any) -> AsyncIterator[Scene]:
    scene = Scene(queue, sink or Sink(), tmp_path, options)
    await scene.start()
    try:
        yield scene
    finally:
        await scene.stop()
        for error in scene.told.troubles:
            if not options.get("is_troubled"):
                raise error
