"""Watches one primary: probe, decide, tell, record.

A decision waits for nothing: who must know is told in the same instant, and the record is written beside it. A write
that fails is reported once and made again at the next observation, with all that has gathered. A probe that our own
machine kept from being made is no observation: that time is unknown. What came in is stamped with the wall clock; only
waiting goes by the monotonic one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.recorder import Recorder
from fallback_mx.outages.spans import Span
from fallback_mx.rules.health import Damping, Health, Observation, resumed, step, unobserved
from mxqueue.model import utc_now

LAST_WRITE_SECONDS = 5.0
SHORTEST_GAP = timedelta(seconds=3)
# From one look for a reason that strangers can give to the next.
SOON_SECONDS = 5.0

Probe = Callable[[], Awaitable[Observation]]
OnChange = Callable[[str, Health, Health], None]
OnTrouble = Callable[[str, Exception | None], None]


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How a primary is watched."""

    interval: timedelta
    rise: int
    fall: int

    @property
    def max_gap(self) -> timedelta:
        """From the end of one look to the beginning of the next: after a longer silence the time between is unknown."""
        return max(3 * self.interval, SHORTEST_GAP)


class Monitor:
    """One primary's health, for as long as `run` runs. For one event loop.

    `on_change(name, before, after)` is called when the state changes, before anything is written; not for the state a
    restart begins with. `on_trouble(name, error)` is called when probing or recording begins to fail for a reason of
    our own, and with None when it works again.
    """

    def __init__(
        self,
        name: str,
        settings: MonitorSettings,
        probe: Probe,
        log: OutageLog,
        on_change: OnChange,
        on_trouble: OnTrouble,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self._settings = settings
        self._damping = Damping(settings.rise, settings.fall)
        self._probe = probe
        self._recorder = Recorder(name, log, settings.max_gap)
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._clock = clock
        self._health = unobserved(clock())
        self._resumed = False
        self._noted = asyncio.Event()
        self._hurried = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._soon_after = 0.0
        self._troubled: set[str] = set()

    @property
    def health(self) -> Health:
        """As the last observation left it."""
        return self._health

    @property
    def span(self) -> Span | None:
        """The outage in hand or, while there is none, the last one that this process saw end."""
        return self._recorder.span

    def observe(self, observation: Observation) -> None:
        """Take an observation of somebody else's, a delivery's, as if a probe had made it.

        Before `run` has taken up the record there is nothing to decide on, and it is passed over.
        """
        if self._resumed and self._decide(observation):
            self._noted.set()

    def look_now(self) -> None:
        """Somebody has reason to think that the primary is back: do not wait for the interval to end."""
        self._hurried.set()

    def look_soon(self) -> None:
        """As `look_now`, for a reason that a stranger may have brought about: at once, unless that was so a moment ago.
        Then as soon as it may be again, so that no reason is forgotten."""
        if self._soon is None:
            loop = asyncio.get_running_loop()
            self._soon = loop.call_at(max(self._soon_after, loop.time()), self._on_soon)

    def _on_soon(self) -> None:
        self._soon = None
        self._soon_after = asyncio.get_running_loop().time() + SOON_SECONDS
        self.look_now()

    async def run(self) -> None:
        """Take up the record, then watch until cancelled; what is not yet written then is written first."""
        while True:
            if await self._resume():
                break
            await asyncio.sleep(self._settings.interval.total_seconds())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._record())
                tasks.create_task(self._watch())
        finally:
            if self._soon is not None:
                self._soon.cancel()
            await self._write(timeout=LAST_WRITE_SECONDS)

    async def _resume(self) -> bool:
        try:
            span = await self._recorder.resume(self._clock())
        except Exception as error:
            self._trouble("record", error)
            return False
        if span is not None:
            self._health = resumed(span.started_at, confirmed=span.confirmed_at is not None)
        self._resumed = True
        self._trouble("record", None)
        return True

    async def _watch(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        interval = self._settings.interval.total_seconds()
        while True:
            began = loop.time()
            self._hurried.clear()
            await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(began + interval):
                    await self._hurried.wait()

    async def _look(self) -> None:
        try:
            observation = await self._probe()
        except Exception as error:
            self._trouble("probe", error)
            return
        self._trouble("probe", None)
        self._decide(observation)
        self._noted.set()

    def _decide(self, observation: Observation) -> bool:
        """Take one step, and tell if the state changed. Whether the outage on record did."""
        before = self._health
        self._health, events = step(before, observation, self._damping)
        self._recorder.note(observation, events)
        if self._health.state is not before.state:
            self._on_change(self.name, before, self._health)
        return bool(events)

    async def _record(self) -> NoReturn:
        while True:
            await self._noted.wait()
            self._noted.clear()
            await self._write(timeout=None)

    async def _write(self, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._recorder.flush()
        except Exception as error:
            self._trouble("record", error)
        else:
            self._trouble("record", None)

    def _trouble(self, part: str, error: Exception | None) -> None:
        """Report the first failure of a row and its end, not every one between."""
        if error is not None and part not in self._troubled:
            self._troubled.add(part)
            self._on_trouble(self.name, error)
        elif error is None and part in self._troubled:
            self._troubled.discard(part)
            if not self._troubled:
                self._on_trouble(self.name, None)
