"""Which primaries are under maintenance, as the service goes by it.

The commands that announce it are other processes, so the book is looked at once a second: a count of its rows, and a
reading of it where somebody has written. What was announced begins and ends at its time, whether or not the database
can be read. Nothing but alarms goes by it: mail is taken, and outages are on record, as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NoReturn

from fallback_mx import maillog
from fallback_mx.maintenance.announcement import Entry
from fallback_mx.maintenance.book import MaintenanceBook
from fallback_mx.maintenance.windows import NONE, Upkeep, around, upkeep, windows_of
from fallback_mx.monitor import Monitor
from fallback_mx.rules.health import State
from fallback_mx.service.notices import tell_again
from fallback_mx.sla.windows import Window
from mxqueue import Queue, QueueError
from mxqueue.model import utc_now

LOOK_SECONDS = 1.0
# Windows are worked out for weeks ahead; no clock goes far beyond that between two looks.
_GOOD_FOR = timedelta(hours=1)


def on_maintenance(name: str, before: Upkeep, after: Upkeep, monitor: Monitor | None) -> None:
    """Another window is on than before, or none. What is the matter with a primary when its maintenance is over alarms
    as if it had begun just then."""
    if after.on is not None and after.until is not None:
        if before.on is None:
            maillog.maintenance_began(name, until=after.until, kind=str(after.on.kind), reason=after.on.reason)
        return
    maillog.maintenance_ended(name, state=(State.UNKNOWN if monitor is None else monitor.health.state).value)
    if monitor is not None:
        tell_again(monitor)


class UpkeepWatch:
    """`names` gives the primaries that there are. `on_change(primary, before, after)` is called when another window is
    on than before, or none; by then alarms go by it."""

    def __init__(
        self,
        queue: Queue,
        names: Callable[[], Iterable[str]],
        on_change: Callable[[str, Upkeep, Upkeep], None],
        on_crash: Callable[[], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._book = MaintenanceBook(queue.writer.submit, queue.read)
        self._names = names
        self._on_change = on_change
        self._on_crash = on_crash
        self._clock = clock
        self._size = -1
        self._entries: tuple[Entry, ...] = ()
        self._windows: Mapping[str, tuple[Window, ...]] = {}
        self._worked_out_at: datetime | None = None
        self._upkeeps: dict[str, Upkeep] = {}
        self._is_troubled = False
        self._looking: asyncio.Task[NoReturn] | None = None

    def upkeeps(self) -> Mapping[str, Upkeep]:
        return self._upkeeps

    async def start(self) -> None:
        """Look for the first time, then for ever."""
        await self.look()
        self._looking = asyncio.create_task(self._run())
        self._looking.add_done_callback(self._on_end)

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _run(self) -> NoReturn:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        try:
            size = await asyncio.wrap_future(self._book.size())
            if size != self._size:
                self._entries = await asyncio.wrap_future(self._book.entries())
                self._size = size
                self._worked_out_at = None
        except QueueError as error:
            if not self._is_troubled:
                maillog.trouble("maintenance", str(error), error.advice)
            self._is_troubled = True
        else:
            if self._is_troubled:
                maillog.recovered("maintenance")
            self._is_troubled = False
        self._go_by_it()

    def _go_by_it(self) -> None:
        now, names = self._clock(), tuple(self._names())
        if self._worked_out_at is None or abs(now - self._worked_out_at) > _GOOD_FOR or {*names} != {*self._windows}:
            self._windows = {name: windows_of(self._entries, name, around(now)) for name in names}
            self._worked_out_at = now
        before = self._upkeeps
        self._upkeeps = {name: upkeep(windows, now) for name, windows in self._windows.items()}
        maillog.quieten(name for name, one in self._upkeeps.items() if one.on is not None)
        for name, after in self._upkeeps.items():
            if (was := before.get(name, NONE)).on != after.on:
                self._on_change(name, was, after)

    def _on_end(self, task: asyncio.Task[NoReturn]) -> None:
        """It does not end by itself: if it does, whoever supervises the service is to start it anew."""
        if not task.cancelled() and (error := task.exception()) is not None:
            maillog.crashed("maintenance", error)
            self._on_crash()
