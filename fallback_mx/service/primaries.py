"""The primaries that are stood in for: each watched by a monitor and emptied by a drain of its own.

One primary's trouble never delays another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

from fallback_mx import maillog
from fallback_mx.config import Config
from fallback_mx.maintenance.windows import Upkeep
from fallback_mx.outages.log import OutageLog
from fallback_mx.rules.bouncing import REPORTS
from fallback_mx.rules.health import State
from fallback_mx.rules.orders import Standing
from fallback_mx.service.couriers import Couriers
from fallback_mx.service.orders import Orders
from fallback_mx.service.outbound import Lessons
from fallback_mx.service.reports import Reports
from fallback_mx.service.station import Station
from fallback_mx.service.surroundings import Surroundings
from fallback_mx.service.telling import Telling
from fallback_mx.service.upkeep import UpkeepWatch, on_maintenance
from fallback_mx.smtp.etrn import Callers, Pending
from fallback_mx.status import Live, patience
from fallback_mx.web.metrics import Metrics
from mxqueue import Queue


class _States(Mapping[str, State]):
    """Asked for each recipient: of a thousand primaries only the one is looked at."""

    def __init__(self, stations: Mapping[str, Station]) -> None:
        self._stations = stations

    def __getitem__(self, name: str) -> State:
        return self._stations[name].state

    def __iter__(self) -> Iterator[str]:
        return iter(self._stations)

    def __len__(self) -> int:
        return len(self._stations)


# So many may be looked at all at once.
FEW = 20


class Primaries:
    """All of them, by name; `configure` makes what runs match the configuration."""

    def __init__(
        self,
        queue: Queue,
        log: OutageLog,
        metrics: Metrics,
        on_crash: Callable[[], None],
        on_state: Callable[[], None],
        lessons: Lessons,
        reports: Reports,
        couriers: Couriers | None = None,
    ) -> None:
        self._couriers = couriers
        self._lessons = lessons
        self._reports = reports
        self._orders = Orders(queue, self._on_orders, on_crash)
        self._maintenance = UpkeepWatch(queue, self._names, self._on_maintenance, on_crash)
        self._queue = queue
        self._on_crash = on_crash
        self._on_state = Telling(on_state)
        self._log = log
        self._metrics = metrics
        self._configured: tuple[str, ...] = ()
        self._surroundings = Surroundings()
        self._stations: dict[str, Station] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[Pending | None]] = set()

    async def start(self, config: Config) -> None:
        """First of all it is read what operators have ordered, and when there is maintenance."""
        self._configured = tuple(primary.name for primary in config.primaries)
        await self._orders.start()
        await self._maintenance.start()
        self._surroundings.start()
        self.configure(config)

    def _names(self) -> Sequence[str]:
        return self._configured

    def _on_maintenance(self, name: str, before: Upkeep, after: Upkeep) -> None:
        station = self._stations.get(name)
        on_maintenance(name, before, after, None if station is None else station.monitor)

    def _on_orders(self, name: str, before: Standing, after: Standing) -> None:
        if (station := self._stations.get(name)) is not None:
            station.on_orders(before, after)

    def configure(self, config: Config) -> None:
        """Start what is new, stop what is gone, restart what has changed; what stays the same is not touched."""
        wanted = {primary.name: primary for primary in config.primaries}
        self._configured = tuple(wanted)
        is_seen_otherwise = self._surroundings.configure(config.monitor)
        for name, station in list(self._stations.items()):
            if is_seen_otherwise or wanted.get(name) != station.primary:
                task = asyncio.create_task(self._replace(self._stations.pop(name)))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
        for place, (name, primary) in enumerate(wanted.items()):
            if name not in self._stations:
                self._stations[name] = Station(
                    primary,
                    config.server,
                    self._queue,
                    self._log,
                    self._metrics,
                    self._on_crash,
                    self._on_state,
                    self._lessons,
                    self._reports.reporter,
                    self.mail_came,
                    self._orders,
                    self._surroundings,
                    place / len(wanted) if len(wanted) > FEW else 0.0,
                    self._couriers,
                )
        self._on_state()

    @staticmethod
    async def _replace(station: Station) -> None:
        await station.stop()

    def states(self) -> Mapping[str, State]:
        """How each is treated, as it is when somebody looks."""
        return _States(self._stations)

    def look(self, name: str) -> None:
        """A primary seemed to fail while mail was played through to it. What senders bring about decides nothing: it is
        looked at."""
        station = self._stations.get(name)
        if station is not None:
            station.monitor.look_soon()

    def size_limits(self) -> Mapping[str, int]:
        """The largest message that each primary takes, of those that have said so."""
        limits = {name: station.size_limit for name, station in self._stations.items()}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def callers(self) -> Callers:
        """The clients that may ask for mail with ETRN."""
        return Callers({name: station.turn.callers for name, station in self._stations.items()})

    def ask(self, names: Sequence[str], client_address: str, then: Callable[[Pending | None], None]) -> None:
        """Start what waits for these primaries; `then` is told of it."""
        asking = asyncio.create_task(self._ask(names, client_address))
        self._asking.add(asking)

        def on_told(told: asyncio.Task[Pending | None]) -> None:
            self._asking.discard(told)
            if not told.cancelled() and (error := told.exception()) is not None:
                maillog.crashed("etrn", error)
                then(None)
            else:
                then(None if told.cancelled() else told.result())

        asking.add_done_callback(on_told)

    async def _ask(self, names: Sequence[str], client_address: str) -> Pending | None:
        turns = [self._stations[name].turn for name in names if name in self._stations]
        told = [pending for turn in turns if (pending := await turn.ask(client_address)) is not None]
        if not told or len(told) < len(turns):
            return None
        return Pending(sum(each.messages for each in told), is_up=all(each.is_up for each in told))

    def mail_came(self, name: str, messages: int = 1) -> None:
        """Mail for this primary was accepted: if it is up the mail can go at once."""
        if name == REPORTS:
            self._reports.wake()
        station = self._stations.get(name)
        if station is None:
            return
        station.monitor.tally(accepted=messages)
        if station.state is State.UP:
            station.drain.wake()

    @property
    def is_cut_off(self) -> bool:
        """Whether our own network is gone, as far as controls can say."""
        return self._surroundings.is_cut_off

    def live(self) -> Mapping[str, Live]:
        return {name: station.live for name, station in self._stations.items()}

    def upkeeps(self) -> Mapping[str, Upkeep]:
        return self._maintenance.upkeeps()

    def gaps(self) -> Mapping[str, timedelta]:
        return {name: patience(station.primary.interval) for name, station in self._stations.items()}

    async def stop(self, grace_seconds: float) -> None:
        """Stop them all; what is not done after the grace time is cut off, and its leases end by themselves."""
        await self._orders.stop()
        await self._maintenance.stop()
        self._surroundings.stop()
        self._on_state.stop()
        ending = [asyncio.create_task(station.stop()) for station in self._stations.values()]
        ending.extend(self._leaving)
        if ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds + 5):
                    await asyncio.gather(*ending, return_exceptions=True)
        if self._couriers is not None:
            await self._couriers.stop()
