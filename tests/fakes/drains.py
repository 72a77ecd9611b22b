"""A drain on a real queue, next to a real sink, with everything around it recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fallback_mx.delivering.words import Way
from fallback_mx.redelivery import Connect, Courier, Drain, DrainSettings, Elsewhere, Reporter, Taken
from fallback_mx.rules.health import Observation
from fallback_mx.smtp.dial import DialSettings, connect
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from mxqueue import BytesContent, Queue
from mxqueue.errors import QueueError
from mxqueue.model import Enclosed, Envelope, Filter, LedgerEvent, Message, Recipient, RecipientState
from tests.fakes.clock import Clock
from tests.fakes.tables import lay

SHORT = Timeouts(connect=5, banner=5, command=5, data=5, block=5, final=5, quit=1)
# The lease is longer than the steps in which tests move the clock.
SETTINGS = DrainSettings(grace_seconds=5, lease=timedelta(minutes=10))
PATIENCE_SECONDS = 20.0


class RecordedEvents:
    """Everything a drain told, as (name, details)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def named(self, name: str) -> list[dict[str, Any]]:
        return [details for told, details in self.told if told == name]

    def delivered(self, taken: Sequence[Taken]) -> None:
        for message, recipient, reply in taken:
            self.told.append(("delivered", {"id": message.id, "to": recipient.forward_path, "reply": reply}))

    def deferred(
        self,
        message: Message,
        recipient: Recipient,
        reply: str,
        *,
        not_before: datetime,
        ambiguous: bool,
        suspect: bool,
    ) -> None:
        details = {"id": message.id, "to": recipient.forward_path, "reply": reply, "not_before": not_before}
        self.told.append(("deferred", details | {"ambiguous": ambiguous, "suspect": suspect}))

    def held(self, message: Message, recipient: Recipient, reason: str) -> None:
        self.told.append(("held", {"id": message.id, "to": recipient.forward_path, "reason": reason}))

    def failed(self, message: Message, recipient: Recipient, reply: str) -> None:
        self.told.append(("failed", {"id": message.id, "to": recipient.forward_path, "reply": reply}))

    def reported(self, message: Message, report: Enclosed) -> None:
        self.told.append(("reported", {"id": message.id, "report": report.envelope.id}))

    def expired(self, recipients: int, state: RecipientState) -> None:
        self.told.append(("expired", {"recipients": recipients, "state": state}))

    def settlement_refused(self, message_id: str, position: int) -> None:
        self.told.append(("settlement_refused", {"id": message_id, "position": position}))

    def connected(self, host: str, tls: str | None, tls_error: str | None) -> None:
        self.told.append(("connected", {"host": host, "tls": tls, "tls_error": tls_error}))

    def connection_failed(self, phase: str, detail: str) -> None:
        self.told.append(("connection_failed", {"phase": phase, "detail": detail}))

    def drain_started(self) -> None:
        self.told.append(("drain_started", {}))

    def drain_ended(self, delivered: int, seconds: float) -> None:
        self.told.append(("drain_ended", {"delivered": delivered}))

    def trouble(self, error: QueueError) -> None:
        self.told.append(("trouble", {"error": error}))

    def crashed(self, error: Exception) -> None:
        self.told.append(("crashed", {"error": error}))


@dataclass
class Primary:
    """What a monitor would know: the gate, the last recovery, and what the drain observed."""

    is_up: bool = True
    recovered_at: datetime | None = None
    observations: list[Observation] = field(default_factory=list)


@dataclass
class Rig:
    queue: Queue
    sink: Sink
    primary: Primary
    events: RecordedEvents
    clock: Clock

    def connect_to(self, port: int, timeouts: Timeouts = SHORT) -> Connect:
        settings = DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=timeouts)

        async def dial() -> Courier:
            return await connect(NextHop("127.0.0.1", port), settings)

        return dial

    def drain(
        self,
        settings: DrainSettings = SETTINGS,
        *,
        connect: Connect | None = None,
        timeouts: Timeouts = SHORT,
        reporter: Reporter | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> Drain:
        return Drain(
            "main",
            self.queue,
            settings,
            connect=connect or self.connect_to(self.sink.port, timeouts),
            may_deliver=lambda: self.primary.is_up,
            recovered_at=lambda: self.primary.recovered_at,
            observe=self.primary.observations.append,
            events=self.events,
            clock=self.clock,
            chance=lambda: 0.5,
            reporter=reporter,
            elsewhere=elsewhere,
            way=self._way,
        )

    async def _way(self) -> Way:
        dial = DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=SHORT)
        return Way((NextHop("127.0.0.1", self.sink.port),), dial)

    @asynccontextmanager
    async def running(self, settings: DrainSettings = SETTINGS, **options: Any) -> AsyncIterator[Drain]:
        drain = self.drain(settings, **options)
        task = asyncio.create_task(drain.run())
        try:
            yield drain
        finally:
            drain.stop()
            await task

    def accept(
        self,
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
        *forward_paths: str,
        reverse_path: str = "sender@client.test",
        **envelope: Any,
    ) -> str:
        """Put one message in the queue; its id."""
        paths = forward_paths or ("user@example.test",)
        made = Envelope(reverse_path, paths, "main", client_address="192.0.2.1", helo="client.test", **envelope)
        return self.queue.accept([made], BytesContent(content)).result()[0]

    def accept_many(self, count: int) -> list[str]:
        futures = [
            self.queue.accept(
                [Envelope("sender@client.test", (f"user{number}@example.test",), "main")],
                BytesContent(f"Subject: {number}\r\n\r\nhello {number}\r\n".encode()),
            )
            for number in range(count)
        ]
        return [future.result()[0] for future in futures]

    def recipients(self, *states: RecipientState) -> list[Recipient]:
        wanted = Filter(states=frozenset(states or RecipientState))
        return [each for message in self.queue.list(wanted).result() for each in message.recipients]

    def leased(self) -> list[Recipient]:
        return [each for each in self.recipients() if each.lease_until is not None]

    def ledger(self, message_id: str) -> list[LedgerEvent]:
        return [row.event for row in self.queue.show(message_id).result()[1]]


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that must come true."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE_SECONDS
    while not condition():
        assert loop.time() < end, f"expected {what}, and waited {PATIENCE_SECONDS} s for it"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def rig(directory: Path, sink: Sink | None = None, *, port: int = 0) -> AsyncIterator[Rig]:
    clock = Clock()
    queue = Queue.open(lay(directory / "queue.db"), node="node", exclusive=True, clock=clock)
    server = sink or Sink()
    await server.start(port=port)
    try:
        yield Rig(queue, server, Primary(), RecordedEvents(), clock)
    finally:
        await server.stop()
        queue.close()


def contents(sink: Sink) -> Sequence[bytes]:
    return [message.content for message in sink.messages]
