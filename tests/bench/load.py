"""Mail for one contestant, in and out, by the clock.

A load that did not do its work is not a fast one: `Void` where mail is missing or too much of it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.bench.contestants import Contestant
from tests.bench.tools import Tools
from tests.fakes.relay import DOMAIN

RECIPIENT = f"u@{DOMAIN}"
SESSIONS = 50
SIZE = 10_240
TRIAL = 300
LONGEST_DRAIN_SECONDS = 300


class Void(Exception):
    """What was to be measured did not happen."""


@dataclass
class Load:
    """`sent` is what the contestant has answered with 250 and must deliver."""

    tools: Tools
    contestant: Contestant
    sent: int = field(default=0)

    def accept_for(self, seconds: float, *, reuse: bool) -> float:
        """Messages a second, over about that many seconds; a short run before sets the number and warms up."""
        rate = TRIAL / self.send(TRIAL, reuse=reuse)
        messages = max(TRIAL, int(rate * seconds))
        measured = messages / self.send(messages, reuse=reuse)
        self.contestant.settle()
        return measured

    def send(self, messages: int, *, sessions: int = SESSIONS, size: int = SIZE, reuse: bool = True) -> float:
        """The seconds it took."""
        seconds = self.tools.source(
            self.contestant.port, messages=messages, sessions=sessions, size=size, recipient=RECIPIENT, reuse=reuse
        )
        self.sent += messages
        return seconds

    def drain(self) -> float:
        """The seconds it took, from go to an empty queue."""
        self.contestant.settle()
        self.contestant.prepare_drain()
        started = time.perf_counter()
        self.contestant.drain()
        # Counting at the primary costs the contestant nothing; its own queue is asked once all should be there.
        self._until(lambda: self.contestant.primary.count() >= self.sent, started)
        self._until(self.contestant.is_empty, started)
        seconds = time.perf_counter() - started
        if self.contestant.primary.count() != self.sent:
            raise Void(f"{self.sent} accepted, {self.contestant.primary.count()} arrived")
        return seconds

    def _until(self, fact: Callable[[], bool], started: float) -> None:
        while not fact():
            if time.perf_counter() - started > LONGEST_DRAIN_SECONDS:
                arrived = self.contestant.primary.count()
                raise Void(f"not drained in {LONGEST_DRAIN_SECONDS} s: {arrived} of {self.sent} arrived")
            time.sleep(0.02)
