"""Outcomes on their way to the queue.

While one settlement is being committed the next outcomes gather, so that a busy drain settles in batches and a quiet
one at once. An outcome is never dropped: where the queue cannot be written it is offered again until it can, and
meanwhile `is_behind` says that nothing new should be begun. What is told to `events` is on record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fallback_mx.redelivery.feed import Feed
from fallback_mx.redelivery.rate import Rate
from fallback_mx.redelivery.shelf import Load
from fallback_mx.redelivery.terms import DrainEvents, Taken
from fallback_mx.rules.disposition import Disposition
from mxqueue.errors import QueueError
from mxqueue.model import Enclosed, Outcome, RecipientState, Settlement

if TYPE_CHECKING:
    from mxqueue import Queue

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Settled:
    """One attempt at one load: what became of each recipient, by position.

    `is_part`: there are others in it, of whom it is yet to be decided. `report` tells the sender of these.
    """

    load: Load
    outcomes: dict[int, Outcome]
    dispositions: dict[int, Disposition]
    is_part: bool = False
    report: Enclosed | None = None

    @property
    def has_delivered(self) -> bool:
        return any(outcome.state is RecipientState.DELIVERED for outcome in self.outcomes.values())


class Settler:
    """Writes outcomes down, in the order in which they came."""

    def __init__(
        self, queue: Queue, feed: Feed, events: DrainEvents, rate: Rate, on_change: Callable[[], None]
    ) -> None:
        self._queue = queue
        self._feed = feed
        self._events = events
        self._rate = rate
        self._on_change = on_change
        self._pending: list[Settled] = []
        self._in_flight: list[Settled] = []
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()
        self._nothing.set()
        self._some = asyncio.Event()
        self._is_failing = False
        self.delivered = 0
        self.attempted = 0

    async def room(self, limit: int) -> None:
        """Until at most `limit` outcomes are not on record: what is not there when the process is killed is sent a
        second time."""
        while len(self._pending) + len(self._in_flight) > limit:
            self._some.clear()
            await self._some.wait()

    @property
    def is_behind(self) -> bool:
        """Whether outcomes cannot be written, so that nothing new should be begun."""
        return self._is_failing

    def add(self, settled: Settled) -> None:
        self._pending.append(settled)
        self._nothing.clear()
        self._something.set()

    async def run(self) -> None:
        """Settle what is added; for ever."""
        while True:
            await self._something.wait()
            self._in_flight, self._pending = self._pending, []
            self._something.clear()
            await self._write()
            self._in_flight = []
            self._some.set()
            if not self._pending:
                self._nothing.set()

    async def finish(self, seconds: float) -> None:
        """Until everything is on record, `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nothing.wait()

    async def _write(self) -> None:
        settlements = [Settlement(each.load.claim, each.outcomes, each.report) for each in self._in_flight]
        while True:
            try:
                refused = await asyncio.wrap_future(self._queue.settle(settlements))
                break
            except QueueError as error:
                if not self._is_failing:
                    self._is_failing = True
                    self._events.trouble(error)
                    self._on_change()
                await asyncio.sleep(RETRY_SECONDS)
        was_behind = self.is_behind
        self._is_failing = False
        taken: list[Taken] = []
        stale = set(refused)
        for each in self._in_flight:
            if not each.is_part:
                self._feed.done(each.load)
            taken += self._tell(each, stale)
        # One for each message of which anything was delivered.
        self._rate.count(len({id(message) for message, _, _ in taken}))
        if taken:
            self._events.delivered(taken)
        if was_behind:
            self._on_change()

    def _tell(self, settled: Settled, refused: set[tuple[str, int]]) -> Iterator[Taken]:
        """Tell of all but the deliveries, which are given."""
        message = settled.load.message
        if settled.report is not None and not any((message.id, position) in refused for position in settled.outcomes):
            self._events.reported(message, settled.report)
        for recipient in message.recipients:
            outcome = settled.outcomes.get(recipient.position)
            if outcome is None:
                continue
            disposition = settled.dispositions.get(recipient.position)
            self.attempted += 1
            if (message.id, recipient.position) in refused:
                self._events.settlement_refused(message.id, recipient.position)
            elif outcome.state is RecipientState.DELIVERED:
                self.delivered += 1
                yield Taken(message, recipient, outcome.reply)
            elif outcome.not_before is not None:
                self._events.deferred(
                    message,
                    recipient,
                    outcome.reply,
                    not_before=outcome.not_before,
                    ambiguous=outcome.ambiguous,
                    suspect=disposition is Disposition.SUSPECT,
                )
            elif outcome.state is RecipientState.HELD:
                self._events.held(message, recipient, outcome.reply)
            elif outcome.state is RecipientState.EXPIRED:
                self._events.expired(1, outcome.state)
            else:
                self._events.failed(message, recipient, outcome.reply)
