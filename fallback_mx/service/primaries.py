"""The primaries that are stood in for: each watched by a monitor and emptied by a drain of its own.

A monitor that says *up* wakes its drain in the same instant; what a drain sees of its primary is an observation for
the monitor. One primary's trouble never delays another.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from fallback_mx import maillog
from fallback_mx.config import Config, Primary, Server
from fallback_mx.monitor import Monitor, MonitorSettings
from fallback_mx.outages.log import OutageLog
from fallback_mx.redelivery import Drain, DrainSettings, OnExpiry, Reporter
from fallback_mx.rules.bouncing import REPORTS
from fallback_mx.rules.disposition import NoConnection, OnRefusal
from fallback_mx.rules.health import Health, Observation, State
from fallback_mx.service.etrn import Turn
from fallback_mx.service.next_hops import Alarms, destination_of, dial_settings
from fallback_mx.service.outbound import Lessons, Outbound
from fallback_mx.service.reports import Reports
from fallback_mx.smtp.chunking import Doubts
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import DialSettings, Line, open_first
from fallback_mx.smtp.etrn import Callers, Pending
from fallback_mx.smtp.probe import TIMEOUTS, probe
from fallback_mx.status import Live, patience
from fallback_mx.web.metrics import Metrics
from mxqueue import Queue, QueueError, RecipientState
from mxqueue.model import utc_now

# A primary that took a message from us so lately, on a connection that still stands, is up whatever it says to a look.
SERVED_SECONDS = 60.0


class Station:
    """One primary: its route, its monitor, its drain, and the wires between them."""

    def __init__(
        self,
        primary: Primary,
        server: Server,
        queue: Queue,
        log: OutageLog,
        metrics: Metrics,
        on_crash: Callable[[], None],
        on_state: Callable[[], None],
        lessons: Lessons,
        reporter: Reporter,
        mail_came: Callable[[str], None],
    ) -> None:
        self.primary = primary
        self._on_crash = on_crash
        self._on_state = on_state
        self.recovered_at: datetime | None = None
        self.size_limit: int | None = None
        self._queue = queue
        destination = destination_of(primary, server)
        self._route = destination.route()
        self._dial = dial_settings(primary, server)
        self._probe_dial = dial_settings(primary, server, TIMEOUTS)
        self._doubts = Doubts(asyncio.get_running_loop().time)
        self._alarms = Alarms(primary.name, str(destination))
        settings = MonitorSettings(interval=primary.interval, rise=primary.rise, fall=primary.fall)
        self.monitor = Monitor(primary.name, settings, self._probe, log, self._on_change, self._on_trouble)
        self.drain = Drain(
            primary.name,
            queue,
            _drain_settings(primary),
            connect=self._connect,
            may_deliver=lambda: self.monitor.health.state is State.UP,
            recovered_at=lambda: self.recovered_at,
            observe=self.monitor.observe,
            events=Outbound(primary.name, str(destination), metrics, lessons, mail_came),
            clock=utc_now,
            chance=random.random,
            reporter=reporter,
        )
        self.turn = Turn(primary.etrn_from, self._route, self._start_turn, on_state)
        self._watching = asyncio.create_task(self.monitor.run())
        self._draining = asyncio.create_task(self.drain.run())
        for task in (self._watching, self._draining):
            task.add_done_callback(self._on_end)

    async def _connect(self) -> Courier:
        return Courier(*await self._line(self._dial), self._dial.announce, self._doubts)

    async def _line(self, dial: DialSettings) -> Line:
        try:
            line = await open_first(await self._route.next_hops(), dial)
        except NoConnection as failure:
            self._alarms.failed(failure)
            raise
        self._alarms.reached()
        return line

    async def _probe(self) -> Observation:
        seen = await probe(lambda: self._line(self._probe_dial))
        if seen.good:
            self._learn(seen.size_limit)
        if seen.is_turned_away and self.drain.is_served(SERVED_SECONDS):
            # It is our own deliveries that leave no room for this look.
            return replace(seen, good=True)
        return seen

    def _learn(self, size_limit: int | None) -> None:
        if size_limit != self.size_limit:
            self.size_limit = size_limit
            self._on_state()

    def _on_change(self, name: str, before: Health, after: Health) -> None:
        detail = after.last.detail if after.last is not None else ""
        self._on_state()
        maillog.primary_state(name, before=before.state.value, now=after.state.value, detail=detail)
        if after.state is State.DOWN and before.state is not State.RISING and after.failing_since is not None:
            maillog.outage_started(name, started_at=after.failing_since, cause=detail)
        if after.state is State.UP and before.state is not State.FALLING:
            # After a start nobody knows for how long it has been up: it is treated as if it had just come back.
            self._on_recovery(name, before, after)
        self.drain.wake()

    def _on_recovery(self, name: str, before: Health, after: Health) -> None:
        self.recovered_at = utc_now()
        ended_at = before.recovering_since or after.since
        if before.failing_since is not None:
            maillog.outage_ended(name, started_at=before.failing_since, ended_at=max(ended_at, before.failing_since))
        # What waited out a backoff from before the outage need not wait any longer.
        self._flush()

    def _flush(self) -> None:
        flushing = asyncio.wrap_future(self._queue.flush(self.primary.name))
        flushing.add_done_callback(self._on_flushed)

    def _on_flushed(self, flushing: asyncio.Future[int]) -> None:
        if not flushing.cancelled() and isinstance(error := flushing.exception(), QueueError):
            maillog.trouble(f"flush of {self.primary.name}", str(error), error.advice)
        self.drain.wake()

    async def _start_turn(self, client_address: str) -> Pending | None:
        """ETRN: make due what is pending, as `queue retry` does. A primary that is not up is looked at before anything
        goes there."""
        name, state = self.primary.name, self.monitor.health.state
        try:
            counts = await asyncio.wrap_future(self._queue.count())
        except QueueError as error:
            maillog.trouble(f"etrn of {name}", str(error), error.advice)
            return None
        messages = sum(each.messages for each in counts if each.route == name and each.state is RecipientState.PENDING)
        maillog.etrn(name, client_address=client_address, messages=messages, state=state.value)
        self._flush()
        if state is not State.UP:
            self.monitor.look_now()
        return Pending(messages, is_up=state is State.UP)

    def _on_trouble(self, name: str, error: Exception | None) -> None:
        if error is None:
            maillog.recovered(f"monitor of {name}")
        else:
            maillog.trouble(f"monitor of {name}", str(error), getattr(error, "advice", ""))

    @property
    def live(self) -> Live:
        health = self.monitor.health
        return Live(health.state, health.since, health.last, asdict(self.drain.status))

    async def stop(self) -> None:
        """Finish or give back what is under way, write the last observations."""
        self.turn.stop()
        self.drain.stop()
        await asyncio.wait([self._draining])
        self._watching.cancel()
        await asyncio.wait([self._watching])

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Neither ends by itself: if one does, whoever supervises the service is to start it anew."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        maillog.crashed(self.primary.name, error)
        self._on_crash()


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
    ) -> None:
        self._lessons = lessons
        self._reports = reports
        self._queue = queue
        self._on_crash = on_crash
        self._on_state = on_state
        self._log = log
        self._metrics = metrics
        self._stations: dict[str, Station] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[Pending | None]] = set()

    def configure(self, config: Config) -> None:
        """Start what is new, stop what is gone, restart what has changed; what stays the same is not touched."""
        wanted = {primary.name: primary for primary in config.primaries}
        for name, station in list(self._stations.items()):
            if wanted.get(name) != station.primary:
                task = asyncio.create_task(self._replace(self._stations.pop(name)))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
        for name, primary in wanted.items():
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
                )
        self._on_state()

    @staticmethod
    async def _replace(station: Station) -> None:
        await station.stop()

    def states(self) -> Mapping[str, State]:
        return {name: station.monitor.health.state for name, station in self._stations.items()}

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

    def mail_came(self, name: str) -> None:
        """Mail for this primary was accepted: if it is up the mail can go at once."""
        if name == REPORTS:
            self._reports.wake()
        station = self._stations.get(name)
        if station is not None and station.monitor.health.state is State.UP:
            station.drain.wake()

    def live(self) -> Mapping[str, Live]:
        return {name: station.live for name, station in self._stations.items()}

    def gaps(self) -> Mapping[str, timedelta]:
        return {name: patience(station.primary.interval) for name, station in self._stations.items()}

    async def stop(self, grace_seconds: float) -> None:
        """Stop them all; what is not done after the grace time is cut off, and its leases end by themselves."""
        ending = [asyncio.create_task(station.stop()) for station in self._stations.values()]
        ending.extend(self._leaving)
        if ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds + 5):
                    await asyncio.gather(*ending, return_exceptions=True)


def _drain_settings(primary: Primary) -> DrainSettings:
    return DrainSettings(
        max_connections=primary.max_connections,
        lifetime=primary.lifetime,
        on_expiry=OnExpiry(primary.on_expiry),
        on_refusal=OnRefusal(primary.on_refusal),
        recovery_guard=primary.recovery_guard,
        retain_delivered=primary.retain_delivered,
        grace_seconds=10.0,
    )
