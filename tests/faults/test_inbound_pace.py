"""Clients that are slow, silent or deaf (FAULTS 36), by a clock that jumps: hours of waiting take no time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.smtp.deadlines import Patience
from fallback_mx.smtp.limits import SessionLimits
from fallback_mx.smtp.listener import Listener
from fallback_mx.smtp.ports import open_ports
from fallback_mx.smtp.terms import ListenerSettings, Route
from tests.fakes import virtual_time
from tests.fakes.kept_commits import KeptCommits

SETTINGS = ListenerSettings(hostname="mx2.example.net", routes={"example.test": Route("one", WhenUp.GUARD)})


class Door:
    """A listener, and what it told of."""

    def __init__(self, settings: ListenerSettings) -> None:
        self.commits = KeptCommits()
        self.limits: list[str] = []
        self.troubles: list[BaseException] = []
        self.clients: list[Client] = []
        self.listener = Listener(
            settings,
            self.commits,
            state_of=lambda name: State.DOWN,
            has_room=lambda size: True,
            events=self,
            clock=lambda: datetime.now(UTC),
        )

    async def open(self) -> None:
        ((port,),) = open_ports("127.0.0.1", 0)
        await self.listener.start([port])
        ((_, self.port),) = self.listener.addresses

    def refused(self, client_address: str, domain: str, reason: str, reply: str) -> None: ...
    def accepted(self, queue_ids: Sequence[str], envelopes: Sequence[Any], size: int) -> None: ...
    def session_opened(self) -> None: ...
    def session_closed(self) -> None: ...

    def session_limit(self, client_address: str, limit: str) -> None:
        self.limits.append(limit)

    def trouble(self, part: str, error: BaseException) -> None:
        self.troubles.append(error)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def reply(self) -> str:
        """The last line of a reply, "" when the connection has ended."""
        while True:
            line = (await self._reader.readline()).decode().rstrip()
            if line[3:4] != "-":
                return line

    async def say(self, command: str) -> str:
        self.writer.write(f"{command}\r\n".encode())
        return await self.reply()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def to_data(self) -> Client:
        assert (await self.say("MAIL FROM:<a@sender.test>")).startswith("250")
        assert (await self.say("RCPT TO:<u@example.test>")).startswith("250")
        assert (await self.say("DATA")).startswith("354")
        return self


async def connect(door: Door) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", door.port))
    door.clients.append(client)
    assert (await client.reply()).startswith("220")
    assert (await client.say("EHLO client.test")).startswith("250")
    return client


def at_the_door(talk: Callable[[Door], Coroutine[Any, Any, None]], settings: ListenerSettings = SETTINGS) -> Door:
    """Let this talk to a listener, from second 0 of a clock that jumps."""

    async def run() -> Door:
        door = Door(settings)
        await door.open()
        await talk(door)
        await door.listener.stop(1.0)
        for client in door.clients:
            await client.close()
        assert door.troubles == []
        return door

    return virtual_time.run(run())


def now() -> float:
    return asyncio.get_running_loop().time()


async def gone(door: Door) -> None:
    """Wait for the last session to end, which it must soon."""
    began = now()
    while door.listener.sessions:
        assert now() - began <= 7
        await asyncio.sleep(0.5)


async def drip(client: Client, octets: bytes, every_seconds: float, times: int) -> None:
    """Send these again and again until that was enough or nobody takes them any more."""
    for _ in range(times):
        if client.writer.transport.is_closing() or client._reader.at_eof():
            return
        client.writer.write(octets)
        await asyncio.sleep(every_seconds)


def test_a_client_that_sends_an_octet_a_second_is_told_421_and_cut_off() -> None:
    async def talk(door: Door) -> None:
        client = await (await connect(door)).to_data()
        dripping = asyncio.ensure_future(drip(client, b"x", 1.0, 1000))
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.reply() == ""
        assert 180 <= now() <= 190
        await dripping
        await gone(door)

    door = at_the_door(talk)
    assert door.limits == ["data_rate"]
    assert door.commits.kept == []


def test_a_client_that_is_slow_but_steady_is_served_for_as_long_as_it_takes() -> None:
    line = b"y" * 148 + b"\r\n"

    async def talk(door: Door) -> None:
        client = await (await connect(door)).to_data()
        await drip(client, line, 1.0, 3600)
        assert (await client.say(".")).startswith("250")
        assert now() >= 3600

    door = at_the_door(talk)
    assert door.commits.kept == [line * 3600]
    assert door.limits == []


def test_a_pause_within_a_message_is_forgiven() -> None:
    async def talk(door: Door) -> None:
        client = await (await connect(door)).to_data()
        client.writer.write(b"before\r\n")
        await asyncio.sleep(170)
        client.writer.write(b"after\r\n" * 3000)
        await asyncio.sleep(170)
        assert (await client.say(".")).startswith("250")

    assert at_the_door(talk).limits == []


def test_much_at_first_does_not_pay_for_nothing_later() -> None:
    async def talk(door: Door) -> None:
        client = await (await connect(door)).to_data()
        client.writer.write(b"much\r\n" * 100_000)
        await client.writer.drain()
        began = now()
        assert (await client.reply()).startswith("421 4.4.2")
        assert 179 <= now() - began <= 185

    assert at_the_door(talk).limits == ["data_rate"]


def test_without_a_rate_an_octet_now_and_then_is_enough() -> None:
    async def talk(door: Door) -> None:
        client = await (await connect(door)).to_data()
        await drip(client, b"x", 100.0, 30)
        assert (await client.say("\r\n.")).startswith("250")

    settings = ListenerSettings(hostname="mx2.example.net", routes=SETTINGS.routes, patience=Patience(min_data_rate=0))
    assert at_the_door(talk, settings).limits == []


def test_a_client_that_is_silent_between_commands_is_told_421_and_cut_off() -> None:
    async def talk(door: Door) -> None:
        client = await connect(door)
        await asyncio.sleep(290)
        assert (await client.say("NOOP")).startswith("250")
        began = now()
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.reply() == ""
        assert 300 <= now() - began <= 302

    assert at_the_door(talk).limits == ["timeout"]


def test_half_a_command_buys_no_time() -> None:
    async def talk(door: Door) -> None:
        client = await connect(door)
        dripping = asyncio.ensure_future(drip(client, b"N", 10.0, 100))
        assert (await client.reply()).startswith("421 4.4.2")
        assert 300 <= now() <= 302
        await dripping

    assert at_the_door(talk).limits == ["timeout"]


def test_a_client_that_does_not_close_after_its_421_is_cut_off_soon() -> None:
    async def talk(door: Door) -> None:
        client = await connect(door)
        assert (await client.reply()).startswith("421")
        await gone(door)

    at_the_door(talk)


def test_while_most_connections_are_taken_the_silent_ones_go_after_ten_seconds() -> None:
    async def talk(door: Door) -> None:
        silent = [await connect(door) for _ in range(8)]
        in_content = await (await connect(door)).to_data()
        assert all([(await client.reply()).startswith("421 4.4.2") for client in [*silent, in_content]])
        assert 10 <= now() <= 13
        assert (await (await connect(door)).say("NOOP")).startswith("250")

    settings = ListenerSettings(hostname="mx2.example.net", routes=SETTINGS.routes, max_connections=10)
    assert sorted(at_the_door(talk, settings).limits) == ["data_rate"] + ["timeout"] * 8


def test_below_that_share_nobody_is_hurried() -> None:
    async def talk(door: Door) -> None:
        silent = [await connect(door) for _ in range(7)]
        await asyncio.sleep(250)
        assert all([(await client.say("NOOP")).startswith("250") for client in silent])

    settings = ListenerSettings(hostname="mx2.example.net", routes=SETTINGS.routes, max_connections=10)
    assert at_the_door(talk, settings).limits == []


def test_a_client_that_never_reads_is_aborted_and_its_descriptor_freed() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def talk(door: Door) -> None:
        before = descriptors()
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, ("127.0.0.1", door.port))

        async def shout() -> None:
            # More answers than all buffers between here and there hold; then nobody takes any more of it.
            while True:
                await loop.sock_sendall(deaf, b"EHLO client.test\r\n" * 2000)

        shouting = asyncio.ensure_future(shout())
        error = (await asyncio.gather(shouting, return_exceptions=True))[0]
        assert isinstance(error, ConnectionError)
        assert 300 <= now() <= 302
        assert door.listener.sessions == 0
        assert descriptors() == before + 1
        deaf.close()

    unbounded = SessionLimits(idle_commands=10**9)
    settings = ListenerSettings(hostname="mx2.example.net", routes=SETTINGS.routes, session_limits=unbounded)
    assert at_the_door(talk, settings).limits == ["timeout"]
