"""Keeps one primary's list as fresh as its source: reads it on a schedule, says once what is wrong, and once that it
works again.

Whatever happens to a source, the last good list stays in the database, through restarts too. It grows old there: once
it is stale it makes nobody *bad* any more, and that is a trouble of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from fallback_mx.recipients.book import Book
from fallback_mx.recipients.importing import Imported, Importer, Order
from fallback_mx.recipients.sources import Source, SourceFailed
from fallback_mx.rules.recipients import is_fresh
from mxqueue.errors import QueueError

RETRY = timedelta(minutes=1)

SOURCE = "source"
LINES = "lines"
AGE = "age"


class ListEvents(Protocol):
    """What is told of a primary's list. `part` is what is in trouble: its SOURCE, its LINES, its AGE."""

    def imported(self, primary: str, imported: Imported) -> None: ...
    def trouble(self, primary: str, part: str, error: SourceFailed | QueueError) -> None: ...
    def recovered(self, primary: str, part: str) -> None: ...


@dataclass(frozen=True, slots=True)
class RefreshSettings:
    """`every` is how often the source is read, `stale_after` how long a list counts without that."""

    primary: str
    domains: frozenset[str]
    every: timedelta = timedelta(minutes=15)
    stale_after: timedelta = timedelta(days=1)


class Refresher:
    """`source` is None where lists are imported by hand: then it watches over their age alone."""

    def __init__(
        self,
        settings: RefreshSettings,
        source: Source | None,
        importer: Importer,
        book: Book,
        threads: Executor,
        events: ListEvents,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._source = source
        self._importer = importer
        self._book = book
        self._threads = threads
        self._events = events
        self._clock = clock
        self._said: set[str] = set()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Read the source now rather than at its time."""
        self._wake.set()

    async def run(self) -> None:
        """Read, look, wait; for ever."""
        while True:
            worked = await self.refresh()
            wait = self._settings.every if worked else min(RETRY, self._settings.every)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait.total_seconds()):
                    await self._wake.wait()
            self._wake.clear()

    async def refresh(self) -> bool:
        """Read the source once and see how old the list is. Whether all that worked."""
        try:
            if self._source is not None:
                await self._import(self._source)
            worked = True
        except (SourceFailed, QueueError) as error:
            self._trouble(SOURCE, error)
            worked = False
        await self._look_at_age()
        return worked and self._source is not None

    async def _import(self, source: Source) -> None:
        order = Order(self._settings.primary, self._settings.domains, self._clock())
        loop = asyncio.get_running_loop()
        imported = await loop.run_in_executor(self._threads, self._importer.take, source, order)
        await asyncio.wrap_future(self._book.notice())
        self._well(SOURCE)
        if imported.is_unchanged:
            return
        self._events.imported(self._settings.primary, imported)
        self._well(LINES)
        if imported.bad_count:
            detail = f"lines that are no address: {imported.bad_count}, the first is {imported.bad[0]}"
            self._trouble(LINES, SourceFailed(detail, "The other addresses are in force. Put these lines right."))

    async def _look_at_age(self) -> None:
        try:
            states = await asyncio.wrap_future(self._book.lists())
        except QueueError:
            return  # said where the database is watched over
        state = next((one for one in states if one.primary == self._settings.primary), None)
        if state is None or is_fresh(state.confirmed_at, self._settings.stale_after, self._clock()):
            self._well(AGE)
            return
        detail = (
            f"the list of {state.addresses} addresses was last confirmed at {state.confirmed_at:%Y-%m-%d %H:%M} UTC"
        )
        advice = "Until its source can be read again, addresses that it has not are unknown, not bad."
        if self._source is None:
            advice = "Import it anew, or forget it: fallback-mx recipients forget --source list."
        self._trouble(AGE, SourceFailed(detail, advice))

    def _trouble(self, part: str, error: SourceFailed | QueueError) -> None:
        if part not in self._said:
            self._said.add(part)
            self._events.trouble(self._settings.primary, part, error)

    def _well(self, part: str) -> None:
        if part in self._said:
            self._said.remove(part)
            self._events.recovered(self._settings.primary, part)
