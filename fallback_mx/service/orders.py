"""What operators have ordered of the primaries, as the service obeys it.

The commands that give orders are other processes, so the book is looked at once a second: one look at an index, and a
reading of it where somebody has written. What ends by itself ends at its time, whether or not the database can be
read. Until the book was read once nothing is known, and nothing is delivered: a pause is to outlive a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NoReturn

from fallback_mx import maillog
from fallback_mx.orders.book import Latest, OrderBook
from fallback_mx.rules.orders import NO_ORDERS, Standing, standing
from mxqueue import Queue, QueueError
from mxqueue.model import utc_now

LOOK_SECONDS = 1.0


class Orders:
    """`on_change(primary, before, after)` is called when other orders stand than before."""

    def __init__(
        self,
        queue: Queue,
        on_change: Callable[[str, Standing, Standing], None],
        on_crash: Callable[[], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._book = OrderBook(queue.writer.submit, queue.read)
        self._on_change = on_change
        self._on_crash = on_crash
        self._clock = clock
        self._number = -1
        self._latest: Latest = {}
        self._standing: Mapping[str, Standing] = {}
        self._is_troubled = False
        self._looking: asyncio.Task[NoReturn] | None = None

    @property
    def are_known(self) -> bool:
        return self._number >= 0

    def of(self, primary: str) -> Standing:
        return self._standing.get(primary, NO_ORDERS)

    async def start(self) -> None:
        """Look for the first time, then for ever."""
        await self._look()
        self._looking = asyncio.create_task(self._run())
        self._looking.add_done_callback(self._on_end)

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _run(self) -> NoReturn:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        try:
            number = await asyncio.wrap_future(self._book.number())
            if number != self._number:
                self._latest = await asyncio.wrap_future(self._book.latest())
                self._number = number
        except QueueError as error:
            if not self._is_troubled:
                maillog.trouble("orders", str(error), error.advice)
            self._is_troubled = True
        else:
            if self._is_troubled:
                maillog.recovered("orders")
            self._is_troubled = False
        self._obey()

    def _obey(self) -> None:
        now = self._clock()
        before = self._standing
        self._standing = {primary: standing(orders, now) for primary, orders in self._latest.items()}
        for primary, after in self._standing.items():
            if after != (was := before.get(primary, NO_ORDERS)):
                self._on_change(primary, was, after)

    def _on_end(self, task: asyncio.Task[NoReturn]) -> None:
        """It does not end by itself: if it does, whoever supervises the service is to start it anew."""
        if not task.cancelled() and (error := task.exception()) is not None:
            maillog.crashed("orders", error)
            self._on_crash()
