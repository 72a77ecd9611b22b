"""Looks once a minute at how much waits, and writes down the most of each five minutes.

A look that fails is left out, and the page shows that nobody looked. What was not yet written when the process died is
not known; at an ordered stop it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime

from fallback_mx.published.samples import Sample, SampleBook, slot_of, taken
from mxqueue.errors import QueueError
from mxqueue.model import RouteCount

LOOK_SECONDS = 60.0


class Sampler:
    """`count` asks the queue, `primaries` names those that are configured, `told` hears of trouble once."""

    def __init__(
        self,
        count: Callable[[], Future[list[RouteCount]]],
        book: SampleBook,
        primaries: Callable[[], Iterable[str]],
        told: Callable[[QueueError], None],
        clock: Callable[[], datetime],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._look_seconds = look_seconds
        self._count = count
        self._book = book
        self._primaries = primaries
        self._told = told
        self._clock = clock
        self._slot: datetime | None = None
        self._most: dict[str, Sample] = {}
        self.latest: Mapping[str, Sample] = {}

    async def run(self) -> None:
        """Never returns."""
        troubled = False
        while True:
            try:
                await self.look()
                troubled = False
            except QueueError as error:
                if not troubled:
                    self._told(error)
                troubled = True
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> None:
        """Take a sample. When a slot is over the most of it is written. Raises QueueError."""
        now = self._clock()
        if self._slot is not None and self._slot != slot_of(now):
            await self.flush()
        counts = await asyncio.wrap_future(self._count())
        self.latest = taken(counts, self._primaries(), now)
        self._slot = slot_of(now)
        for name, sample in self.latest.items():
            self._most[name] = sample.merged(self._most.get(name, sample))

    async def flush(self) -> None:
        """Write what was seen of the slot in hand. Raises QueueError; the slot is forgotten all the same."""
        slot, most = self._slot, self._most
        self._slot, self._most = None, {}
        if slot is not None and most:
            await asyncio.wrap_future(self._book.write(slot, most))
