"""What the HTTP face may see of the running service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fallback_mx import __version__, status
from fallback_mx.maintenance.windows import Upkeep
from fallback_mx.orders.book import OrderBook
from fallback_mx.outages.log import OutageLog
from fallback_mx.published.publication import Publication
from fallback_mx.published.telling import Whole
from fallback_mx.published.terms import Terms
from fallback_mx.sentence import sentence
from fallback_mx.service.front import Front
from fallback_mx.space import Space
from fallback_mx.status import Live
from fallback_mx.web.app import Check
from fallback_mx.web.metrics import Figures
from mxqueue import Queue, QueueError, RouteCount
from mxqueue.model import utc_now


class ServiceView:
    """`live` gives what is known of each primary now, `gaps` its longest time between two looks, `upkeeps` its
    maintenance, `is_cut_off` says whether our own network is gone."""

    def __init__(
        self,
        queue: Queue,
        log: OutageLog,
        front: Front,
        space: Space,
        live: Callable[[], Mapping[str, Live]],
        gaps: Callable[[], Mapping[str, timedelta]],
        publication: Publication,
        upkeeps: Callable[[], Mapping[str, Upkeep]],
        is_cut_off: Callable[[], bool] = lambda: False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._queue = queue
        self._log = log
        self._orders = OrderBook(queue.writer.submit, queue.read)
        self._front = front
        self._space = space
        self._live = live
        self._gaps = gaps
        self._publication = publication
        self._reader = ThreadPoolExecutor(1, "pages")
        self._upkeeps = upkeeps
        self._is_cut_off = is_cut_off
        self._clock = clock

    @property
    def node(self) -> str:
        return self._log.node

    @property
    def version(self) -> str:
        return __version__

    @property
    def terms(self) -> Terms:
        return self._publication.terms

    async def whole(self) -> Whole:
        # A thread of its own: while the database hangs, nobody else's work is to stand behind that of the pages.
        whole = await asyncio.get_running_loop().run_in_executor(
            self._reader, self._publication.read, self._live(), self._gaps(), self._clock()
        )
        return replace(whole, status=status.with_upkeeps(whole.status, self._upkeeps()))

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
            under_maintenance=[name for name, one in self._upkeeps().items() if one.on is not None],
            watched={name: each.watching for name, each in live.items()},
            is_cut_off=self._is_cut_off(),
        )

    async def status(self) -> dict[str, Any]:
        # Reading waits for the readers' threads; the event loop has better to do.
        on_record = await asyncio.to_thread(
            status.read_status, self._queue, self._log, self._orders, self._gaps(), self._clock()
        )
        whole = status.with_upkeeps(status.with_live(on_record, self._live()), self._upkeeps())
        return status.as_json(whole, sentence(whole))
