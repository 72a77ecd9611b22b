"""A primary that is watched on a virtual clock: every ten seconds from second 0, at noon of the wall clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

from fallback_mx.monitor import Monitor, MonitorSettings, Pulse
from fallback_mx.outages.gaps import Unknown
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Kind, Span
from fallback_mx.rules.health import Health, Observation, State
from fallback_mx.rules.observation import PortSeen, with_ports
from fallback_mx.sla.intervals import Interval
from tests.fakes import virtual_time
from tests.fakes.direct_database import DirectDatabase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = MonitorSettings(timedelta(seconds=10), rise=2, fall=3)


class World:
    """A primary that can go away, a wall clock that can be set, and everything the monitor does to either.

    `cut_off` says why our own network is gone, `closed` names the ports at which nobody answers; with `has_pulse` the
    monitor is told when the clock is set or time goes by that the loop did not see (`slept`).
    """

    def __init__(self, database: DirectDatabase) -> None:
        self.database = database
        self.log = OutageLog(database.submit, database.read, "mx2")
        self.is_up = True
        self.cannot_probe = False
        self.probe_seconds = 0.0
        self.cut_off: str | None = None
        self.has_controls = False
        self.has_pulse = False
        self.ports: dict[str, bool] = {}
        self.closed: set[str] = set()
        self.slept = 0.0
        self.clock_set_by = timedelta(0)
        self.probed_at: list[float] = []
        self.at_once = 0
        self.most_at_once = 0
        self.changes: list[tuple[float, State, State]] = []
        self.beside: list[tuple[float, Kind, str, State]] = []
        self.spans_when_told: list[Span | None] = []
        self.troubles: list[str | None] = []
        self.monitor: Monitor | None = None

    def clock(self) -> datetime:
        return NOON + timedelta(seconds=self._seconds() + self.slept) + self.clock_set_by

    @contextlib.asynccontextmanager
    async def watching(self, settings: MonitorSettings = SETTINGS) -> AsyncIterator[Monitor]:
        """A monitor that runs until the end of the block."""
        pulse = Pulse(self.clock, lambda: self._seconds() + self.slept) if self.has_pulse else None
        if pulse is not None:
            pulse.start()
        self.monitor = Monitor(
            "main",
            settings,
            self.probe,
            self.log,
            self.changed,
            self.troubled,
            clock=self.clock,
            on_beside=self.changed_beside,
            cut_off=self.why_cut_off if self.has_controls else None,
            pulse=pulse,
        )
        running = asyncio.create_task(self.monitor.run())
        try:
            yield self.monitor
            assert not running.done(), running
        finally:
            running.cancel()
            await asyncio.wait([running])
            if pulse is not None:
                pulse.stop()

    async def until(self, second: float) -> None:
        await asyncio.sleep(second - self._seconds())

    def seen(self, good: bool) -> Observation:
        return Observation(good, self.clock(), "delivery", "")

    def spans(self, *kinds: Kind) -> list[Span]:
        return self.log.list_spans(blips=True, kinds=kinds or (Kind.OUTAGE,)).result()

    def watches(self) -> list[tuple[float, float]]:
        always = Interval(NOON - timedelta(days=9), NOON + timedelta(days=9))
        return [
            (second(each.started_at), second(each.ended_at)) for each in self.log.list_watches("main", always).result()
        ]

    def unknown(self, start: float, end: float) -> list[tuple[float, float, str | None]]:
        """The unknown time between two seconds: from, to, cause."""
        period = Interval(NOON + timedelta(seconds=start), NOON + timedelta(seconds=end))
        return [_told(each) for each in self.log.unknown("main", period).result()]

    def figures(self, start: float, end: float) -> tuple[float, float, float]:
        """Seconds up, down and unknown between two seconds."""
        period = Interval(NOON + timedelta(seconds=start), NOON + timedelta(seconds=end))
        uptime = self.log.uptime("main", period).result()
        return uptime.up.total_seconds(), uptime.down.total_seconds(), uptime.unknown.total_seconds()

    async def probe(self) -> Observation:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.probed_at.append(self._seconds())
        began, good = self.clock(), self.is_up
        ports = [PortSeen(name, name not in self.closed, "no", decides) for name, decides in self.ports.items()]
        try:
            if self.cannot_probe:
                raise OSError("too many open files")
            await asyncio.sleep(self.probe_seconds)
        finally:
            self.at_once -= 1
        phases = (("connect", 0.0), ("banner", self.probe_seconds))
        said = "250 hi" if good else "no"
        return with_ports(Observation(good, began, "ehlo", said, self.probe_seconds, phases=phases), ports)

    async def why_cut_off(self) -> str | None:
        return self.cut_off

    def changed(self, name: str, before: Health, after: Health) -> None:
        assert name == "main"
        assert self.monitor is not None
        self.changes.append((self._seconds(), before.state, after.state))
        self.spans_when_told.append(self.monitor.span)

    def changed_beside(self, name: str, kind: Kind, subject: str, before: Health, after: Health) -> None:
        assert name == "main"
        self.beside.append((self._seconds(), kind, subject, after.state))

    def troubled(self, name: str, error: Exception | None) -> None:
        assert name == "main"
        self.troubles.append(None if error is None else str(error))

    @staticmethod
    def _seconds() -> float:
        return asyncio.get_running_loop().time()


def second(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - NOON).total_seconds()


def _told(unknown: Unknown) -> tuple[float, float, str | None]:
    cause = None if unknown.cause is None else unknown.cause.value
    return second(unknown.interval.start), second(unknown.interval.end), cause


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(1_000_000):
            await story()

    virtual_time.run(main())
