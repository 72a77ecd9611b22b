"""Whether this process was awake all the time, and its wall clock steady: what was not looked at cannot be known.

Three clocks are held against each other, every second and whenever somebody asks: that of the event loop, one that goes
on while the machine sleeps, and the wall clock. A process that was stopped, a machine that slept or had no time for us,
and a clock that was set are told apart by that. There is one pulse for all monitors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from mxqueue.model import utc_now

BEAT_SECONDS = 1.0
# A loop that could not run for so long may have missed what a primary said in time.
STALL_SECONDS = 5.0
# Clocks that are kept in step by slewing do not move so far in a second.
STEP_SECONDS = 1.0


def boot_seconds() -> float:
    """Seconds that go on while the machine sleeps, where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Pulse:
    """`stalls` counts how often this process stood still, `steps` how often its clock was set forward. `on_stall` and
    `on_step` hear of each with its seconds, `on_step` of those back, too. Begins to beat with `start`, in a loop."""

    def __init__(
        self,
        clock: Callable[[], datetime] = utc_now,
        elapsed: Callable[[], float] = boot_seconds,
        on_stall: Callable[[float], None] = lambda seconds: None,
        on_step: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._clock = clock
        self._elapsed = elapsed
        self._on_stall = on_stall
        self._on_step = on_step
        self._stalls = 0
        self._steps = 0
        self._last = 0.0
        self._origin: datetime | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._last = self._elapsed()
        self._origin = self._clock() - timedelta(seconds=self._last)
        self._beat()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def stalls(self) -> int:
        self._look()
        return self._stalls

    @property
    def steps(self) -> int:
        self._look()
        return self._steps

    def _beat(self) -> None:
        self._look()
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def _look(self) -> None:
        if self._origin is None:
            return
        now, wall = self._elapsed(), self._clock()
        silent, self._last = now - self._last, now
        if silent > BEAT_SECONDS + STALL_SECONDS:
            self._stalls += 1
            self._on_stall(silent)
        origin = wall - timedelta(seconds=now)
        moved, self._origin = (origin - self._origin).total_seconds(), origin
        if abs(moved) > STEP_SECONDS:
            self._steps += moved > 0
            self._on_step(moved)
