"""Watches one primary: probe, decide, tell, record.

A decision waits for nothing: who must know is told in the same instant, and the record is written beside it. A write
that fails is reported once and made again at the next observation, with all that has gathered. A failure is held
against our own network first, where there are controls to do that with. A probe that our own machine kept from being
made, or that failed while we were cut off or stood still, is no observation: that time is unknown. What came in is
stamped with the wall clock; only waiting goes by the monotonic one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from fallback_mx.monitor.beside import Beside, OnBeside, PortHealth
from fallback_mx.monitor.pulse import Pulse
from fallback_mx.monitor.settings import MonitorSettings
from fallback_mx.outages.gaps import Cause
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.recorder import Recorder
from fallback_mx.outages.spans import Span
from fallback_mx.rules.health import Health, Observation, blinded, resumed, step, unobserved
from mxqueue.model import utc_now

LAST_WRITE_SECONDS = 5.0
# That nothing has changed may be written so much later: with what all other monitors have to write in one commit.
TOGETHER_SECONDS = 0.25
# From one look for a reason that strangers can give to the next.
SOON_SECONDS = 5.0

Probe = Callable[[], Awaitable[Observation]]
OnChange = Callable[[str, Health, Health], None]
OnTrouble = Callable[[str, Exception | None], None]
CutOff = Callable[[], Awaitable[str | None]]
"""Why it is we who are cut off; None while we are not."""


def _unheard(*of_what: object) -> None:
    """Where nobody wants to know."""


class Monitor:
    """One primary's health, for as long as `run` runs. For one event loop.

    `on_change(name, before, after)` is called when the state changes, before anything is written; not for the state a
    restart begins with. `on_trouble(name, error)` is called when probing or recording begins to fail for a reason of
    our own, and with None when it works again. `on_beside` hears of its pace and its other ports. `cut_off` is asked
    before a failure counts; without a `pulse` nobody notices that this process stood still or that its clock was set.
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
        *,
        on_beside: OnBeside = _unheard,
        cut_off: CutOff | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._damping = settings.damping
        self._probe = probe
        self._cut_off = cut_off
        self._pulse = pulse
        self._steps = 0
        self._has_seen = False
        self._judging: set[asyncio.Task[None]] = set()
        self._recorder = Recorder(name, log, settings.max_gap)
        self._beside = Beside(name, settings, self._recorder, on_beside)
        self.cut_off_since: datetime | None = None
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

    @property
    def slow_since(self) -> datetime | None:
        """Since when it has been slow; None while it is not."""
        return self._beside.slow_since

    @property
    def ports(self) -> tuple[PortHealth, ...]:
        """How its other ports are, those that decide among them."""
        return self._beside.ports

    def observe(self, observation: Observation) -> None:
        """Take an observation of somebody else's, a delivery's, as if a probe had made it.

        Before `run` has taken up the record there is nothing to decide on, and it is passed over. So it is where mail
        goes to a primary that is down for another of its ports: it says nothing of that one.
        """
        if not self._resumed:
            return
        last = self._health.last
        if observation.good and last is not None and last.phase == "port" and not last.good:
            return
        if observation.good or self._cut_off is None:
            if self._decide(observation):
                self._noted.set()
            return
        judging = asyncio.get_running_loop().create_task(self._judge(observation))
        self._judging.add(judging)
        judging.add_done_callback(self._judging.discard)

    def tally(self, *, accepted: int = 0, delivered: int = 0) -> None:
        """So many messages came in for this primary, so many recipients got theirs: evidence of what is going on."""
        self._recorder.tally(accepted, delivered)

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
            for judging in self._judging:
                judging.cancel()
            await self._write(timeout=LAST_WRITE_SECONDS)

    async def _resume(self) -> bool:
        try:
            latest = await self._recorder.resume(self._clock())
        except Exception as error:
            self._trouble("record", error)
            return False
        self._beside.resume(latest.beside, latest.watch.ended_at if latest.watch is not None else self._clock())
        if (span := latest.span) is not None:
            self._health = resumed(span.started_at, confirmed=span.confirmed_at is not None)
        self._resumed = True
        self._trouble("record", None)
        return True

    async def _watch(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        interval = self._settings.interval.total_seconds()
        await asyncio.sleep(self._settings.first_after.total_seconds())
        pause = interval * (1 - self._settings.sooner)
        self._steps = self._steps_now(None)
        while True:
            began = loop.time()
            self._hurried.clear()
            await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(began + pause):
                    await self._hurried.wait()
            pause = interval

    async def _look(self) -> None:
        at, steps = self._clock(), self._steps_now(None)
        stalls = self._pulse.stalls if self._pulse is not None else 0
        try:
            observation = await self._probe()
        except Exception as error:
            self._trouble("probe", error)
            self._recorder.absent(at, self._clock(), Cause.OURS, str(error), self._absence())
            self._noted.set()
            return
        self._trouble("probe", None)
        if self._pulse is not None and self._pulse.stalls != stalls:
            # Nobody knows when it answered, or if we would have heard it: it is looked at again.
            return
        await self._judge(observation, steps)

    async def _judge(self, observation: Observation, steps: int | None = None) -> None:
        """Hold what failed against our own network, then decide."""
        has_failed = not observation.good or any(not port.good for port in observation.ports)
        why = await self._cut_off() if has_failed and self._cut_off is not None else None
        if why is None:
            self._decide(observation, steps)
        elif observation.good:
            self._decide(replace(observation, ports=()), steps)
        else:
            self._blind(observation, why)
        self._noted.set()

    def _blind(self, observation: Observation, why: str) -> None:
        before = self._health
        self._health = blinded(before, observation.at)
        self._recorder.absent(observation.at, observation.ended_at, Cause.CUT_OFF, why, self._absence())
        self._beside.blind(observation.at)
        self.cut_off_since = self.cut_off_since or observation.at
        if self._health.state is not before.state:
            self._on_change(self.name, before, self._health)

    def _decide(self, observation: Observation, steps: int | None = None) -> bool:
        """Take one step, and tell if the state changed. Whether the outage on record did. `steps` is how often the
        clock had been set when the look began."""
        before = self._health
        self._health, events = step(before, observation, self._damping)
        absence = self._absence(steps)
        if absence is Cause.CLOCK:
            self._recorder.cut()
        self._recorder.note(observation, events, absence)
        self._beside.take(observation)
        self._has_seen, self.cut_off_since = True, None
        self._steps = self._steps_now(steps)
        if self._health.state is not before.state:
            self._on_change(self.name, before, self._health)
        return bool(events)

    def _absence(self, steps: int | None = None) -> Cause:
        """Why nobody had looked before this observation, if nobody had."""
        if not self._has_seen:
            return Cause.OFF
        return Cause.CLOCK if self._steps_now(steps) > self._steps else Cause.SUSPENDED

    def _steps_now(self, steps: int | None) -> int:
        if steps is None:
            return self._pulse.steps if self._pulse is not None else 0
        return steps

    async def _record(self) -> NoReturn:
        while True:
            await self._noted.wait()
            if not self._recorder.is_urgent:
                loop = asyncio.get_running_loop()
                await asyncio.sleep(TOGETHER_SECONDS - loop.time() % TOGETHER_SECONDS)
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
