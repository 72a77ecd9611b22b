"""A listener on the test's own event loop that asks `Knowing` about recipients, and senders to come to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import Verdict
from fallback_mx.smtp.doors import Doors
from fallback_mx.smtp.listener import Listener
from fallback_mx.smtp.networks import Networks
from fallback_mx.smtp.ports import open_ports
from fallback_mx.smtp.terms import ListenerSettings, Route
from tests.fakes.clock import Clock
from tests.fakes.kept_commits import KeptCommits
from tests.fakes.played import Client, Told

HERE = Networks([ip_network("127.0.0.0/8")])


class Knowing:
    """Implements the session's `Knows`: GOOD but for what a test has said otherwise. While `may_answer` is not set
    nobody is answered."""

    def __init__(self) -> None:
        self.refusing: frozenset[str] = frozenset()
        self.verdicts: dict[str, Verdict | None] = {}
        self.asked: list[tuple[str, bool]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def verdict(self, primary: str, forward_path: str, *, waits: bool) -> Verdict | None:
        self.asked.append((forward_path, waits))
        await self.may_answer.wait()
        return self.verdicts.get(forward_path, Verdict.GOOD)


class Heard(Told):
    """What the listener told, the recipients that were let in among it."""

    def __init__(self) -> None:
        super().__init__()
        self.admitted: list[tuple[str, str, str]] = []

    def let_in(self, client_address: str, forward_path: str, primary: str, reason: str) -> None:
        self.admitted.append((forward_path, primary, reason))


class Gate:
    def __init__(self, route: Route, make_resolver: Any, doors_seconds: Callable[[], float], **settings: Any) -> None:
        self.state = State.DOWN
        self.knowing = Knowing()
        self.told = Heard()
        self.commits = KeptCommits()
        self._clients: list[Client] = []
        self.settings = ListenerSettings(
            hostname="mx2.test", routes={"example.test": route}, proxy_protocol_from=HERE, **settings
        )
        self.listener = Listener(
            self.settings,
            self.commits,
            state_of=lambda name: self.state,
            has_room=lambda size: True,
            events=self.told,
            clock=lambda: datetime.now(UTC),
            knows=self.knowing,
            doors=Doors(doors_seconds),
            make_resolver=make_resolver,
        )

    def configure(self, **settings: Any) -> None:
        self.listener.configure(replace(self.settings, **settings))

    async def connect(self, address: str = "192.0.2.7", first: bytes = b"") -> Client:
        """A client from this address, which says `first` together with its proxy's header."""
        host, port = self.listener.addresses[0]
        client = Client(*await asyncio.open_connection(host, port))
        self._clients.append(client)
        await client.send(b"PROXY TCP4 %s 203.0.113.1 4321 25\r\n" % address.encode() + first)
        return client

    async def sender(self, address: str = "192.0.2.7", reverse_path: str = "a@sender.test") -> Client:
        """A client with a transaction under way."""
        client = await (await self.connect(address)).hello()
        assert (await client.say(f"MAIL FROM:<{reverse_path}>")).startswith("250")
        return client

    async def rcpt(self, name: str, address: str = "192.0.2.7") -> str:
        """What this recipient at example.test is answered."""
        return await (await self.sender(address)).say(f"RCPT TO:<{name}@example.test>")

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self.listener.stop(5.0)


@contextlib.asynccontextmanager
async def gate(*, make_resolver: Any = None, clock: Clock | None = None, **options: Any) -> AsyncIterator[Gate]:
    """Options that are a Route's are for the one route there is, others for the listener's settings."""
    moments = clock or Clock()
    of_route = {key: options.pop(key) for key in Route.__dataclass_fields__ if key in options}
    route = Route(**{"name": "main", "when_up": WhenUp.GUARD, **of_route})
    there = Gate(route, make_resolver, lambda: moments().timestamp(), **options)
    ((port,),) = open_ports("127.0.0.1", 0)
    await there.listener.start([port])
    try:
        yield there
    finally:
        await there.close()
        for error in there.told.troubles:
            raise error
