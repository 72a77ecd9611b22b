"""The legs: what is sent, what is counted as the time, and what makes a leg void.

A leg that did not do its work is not a fast one: each raises `LegFailed` where mail is missing or too much of it came.
"""

from __future__ import annotations

import asyncio
import smtplib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fallback_mx.smtp.sink import Sink, SinkSession
from tests.bench.contestants import Contestant, Ours
from tests.bench.tools import Tools
from tests.fakes.relay import DOMAIN, Relay, primary

RECIPIENT = f"u@{DOMAIN}"
SESSIONS = 50
SIZE = 10_240
LARGE = 20_000_000
LARGE_AT_ONCE = 20
MB = 1_000_000


class LegFailed(Exception):
    pass


@dataclass
class Load:
    """Mail for one contestant. `sent` is what it has answered with 250 and must deliver."""

    tools: Tools
    contestant: Contestant
    sent: int = field(default=0)

    def accept(self, *, seconds: float, reuse: bool) -> float:
        """Messages a second, over about that many seconds; a short run before sets the number and warms up."""
        trial = 300
        rate = trial / self._send(trial, reuse)
        messages = max(trial, int(rate * seconds))
        measured = messages / self._send(messages, reuse)
        self.contestant.settle()
        return measured

    def fill(self, messages: int) -> None:
        self._send(messages, reuse=True)

    def drain(self) -> float:
        """Messages a second, from go to an empty queue."""
        self.contestant.settle()
        self.contestant.prepare_drain()
        started = time.perf_counter()
        self.contestant.drain()
        # Counting at the primary costs the contestant nothing; its own queue is asked once all should be there.
        self._until(lambda: self.contestant.primary.count() >= self.sent, started)
        self._until(self.contestant.is_empty, started)
        seconds = time.perf_counter() - started
        if self.contestant.primary.count() != self.sent:
            raise LegFailed(f"{self.sent} accepted, {self.contestant.primary.count()} arrived")
        return self.sent / seconds

    def _until(self, fact: Callable[[], bool], started: float) -> None:
        while not fact():
            if time.perf_counter() - started > 300:
                raise LegFailed(f"not drained in 300 s: {self.contestant.primary.count()} of {self.sent} arrived")
            time.sleep(0.02)

    def _send(self, messages: int, reuse: bool) -> float:
        seconds = self.tools.source(
            self.contestant.port, messages=messages, sessions=SESSIONS, size=SIZE, recipient=RECIPIENT, reuse=reuse
        )
        self.sent += messages
        return seconds


def memory(tools: Tools) -> tuple[float, float]:
    """The most that was resident, in MB: after 20 messages of 20 MB came at once, and after they were sent on."""
    with Ours(tools, max_connections=LARGE_AT_ONCE) as ours:
        tools.source(
            ours.port, messages=LARGE_AT_ONCE, sessions=LARGE_AT_ONCE, size=LARGE, recipient=RECIPIENT, reuse=True
        )
        accepting = ours.relay.rss()
        Load(tools, ours, sent=LARGE_AT_ONCE).drain()
        return accepting / MB, ours.relay.rss() / MB


def first_delivery() -> float:
    """Seconds from the primary's first banner to its first 250 for a message: interval 500 ms, rise 2."""
    return asyncio.run(_first_delivery())


async def _first_delivery() -> float:
    moments: dict[str, float] = {}
    delivered = asyncio.Event()

    def banner(_session: SinkSession, _argument: str) -> None:
        moments.setdefault("banner", time.perf_counter())

    def final(_session: SinkSession, _argument: str) -> None:
        moments.setdefault("final", time.perf_counter())
        delivered.set()

    reserved = Sink()
    await reserved.start()
    port = reserved.port
    await reserved.stop()
    with Relay(primary(port, interval="500ms", rise=2, fall=1)) as relay:
        await asyncio.to_thread(_send_one, relay)
        sink = Sink(replies={"banner": banner, "final": final}, keep=False)
        await sink.start(port=port)
        try:
            await asyncio.wait_for(delivered.wait(), 60)
        except TimeoutError as late:
            raise LegFailed(f"nothing delivered within 60 s of the primary's return; {relay.log_tail()}") from late
        finally:
            await sink.stop()
    return moments["final"] - moments["banner"]


def _send_one(relay: Relay) -> None:
    relay.wait_for(lambda: relay.primary_state() == "down", "the primary is seen to be away")
    with smtplib.SMTP("127.0.0.1", relay.port) as client:
        client.sendmail("a@sender.test", [RECIPIENT], b"Subject: first\r\n\r\nout\r\n")
