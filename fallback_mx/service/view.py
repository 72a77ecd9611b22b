"""What the HTTP face may see of the running service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fallback_mx import status
from fallback_mx.orders.book import OrderBook
from fallback_mx.outages.log import OutageLog
from fallback_mx.sentence import sentence
from fallback_mx.service.front import Front
from fallback_mx.space import Space
from fallback_mx.status import Live
from fallback_mx.web.app import Check
from fallback_mx.web.metrics import Figures
from mxqueue import Queue, QueueError, RouteCount
from mxqueue.model import utc_now


class ServiceView:
    """`live` gives what is known of each primary now, `gaps` its longest time between two looks."""

    def __init__(
        self,
        queue: Queue,
        log: OutageLog,
        front: Front,
        space: Space,
        live: Callable[[], Mapping[str, Live]],
        gaps: Callable[[], Mapping[str, timedelta]],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._queue = queue
        self._log = log
        self._orders = OrderBook(queue.writer.submit, queue.read)
        self._front = front
        self._space = space
        self._live = live
        self._gaps = gaps
        self._clock = clock

    async def ready(self) -> Sequence[Check]:
        return (
            await self._database(),
            Check("space", self._space.has_room(0) and self._space.takes_files, self._space.describe()),
            Check("listener", self._front.listening),
        )

    async def _database(self) -> Check:
        try:
            await asyncio.wrap_future(self._queue.ping())
        except QueueError as error:
            return Check("database", False, type(error).__name__)
        return Check("database", True)

    async def figures(self) -> Figures:
        counts: Sequence[RouteCount] | None = None
        with contextlib.suppress(QueueError):
            counts = await asyncio.wrap_future(self._queue.count())
        live = self._live()
        return Figures(
            at=self._clock(),
            states={name: each.state.value for name, each in live.items()},
            counts=counts,
            drains={name: each.drain for name, each in live.items()},
            orders={name: each.orders for name, each in live.items()},
        )

    async def status(self) -> dict[str, Any]:
        # Reading waits for the readers' threads; the event loop has better to do.
        on_record = await asyncio.to_thread(
            status.read_status, self._queue, self._log, self._orders, self._gaps(), self._clock()
        )
        whole = status.with_live(on_record, self._live())
        return status.as_json(whole, sentence(whole))
