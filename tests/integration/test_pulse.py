"""The pulse: what it notices of a process that stood still, and of a clock that was set."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from fallback_mx.monitor import Pulse
from tests.fakes import virtual_time

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clocks:
    def __init__(self) -> None:
        self.slept = 0.0
        self.set_by = 0.0
        self.stalls: list[float] = []
        self.steps: list[float] = []
        self.pulse = Pulse(self.wall, self.elapsed, self.stalls.append, self.steps.append)

    def elapsed(self) -> float:
        return asyncio.get_running_loop().time() + self.slept

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed() + self.set_by)


def play(story: Callable[[Clocks], Awaitable[None]]) -> Clocks:
    async def run() -> Clocks:
        clocks = Clocks()
        clocks.pulse.start()
        await story(clocks)
        clocks.pulse.stop()
        return clocks

    return virtual_time.run(run())


def test_an_hour_in_which_nothing_happens_is_no_news() -> None:
    async def story(clocks: Clocks) -> None:
        await asyncio.sleep(3600)
        assert (clocks.pulse.stalls, clocks.pulse.steps) == (0, 0)

    clocks = play(story)
    assert (clocks.stalls, clocks.steps) == ([], [])


def test_sleep_of_the_machine_is_noticed_at_once_by_whoever_asks() -> None:
    async def story(clocks: Clocks) -> None:
        await asyncio.sleep(10)
        clocks.slept = 100
        assert (clocks.pulse.stalls, clocks.pulse.steps) == (1, 0)

    assert play(story).stalls == [pytest.approx(100)]


@pytest.mark.parametrize(("seconds", "steps"), [(3600, 1), (2, 1), (0.5, 0), (-3600, 0), (315_576_000, 1)])
def test_a_clock_that_is_set_is_noticed_and_only_forward_makes_up_time(seconds: float, steps: int) -> None:
    async def story(clocks: Clocks) -> None:
        await asyncio.sleep(10)
        clocks.set_by = seconds
        assert (clocks.pulse.stalls, clocks.pulse.steps) == (0, steps)

    assert play(story).steps == ([pytest.approx(seconds)] if abs(seconds) > 1 else [])


def test_a_clock_that_drifts_is_not_set() -> None:
    async def story(clocks: Clocks) -> None:
        for _ in range(1000):
            await asyncio.sleep(1)
            clocks.set_by += 0.01

    assert play(story).steps == []


STOPPED = """
import asyncio
from fallback_mx.monitor import Pulse
async def main():
    pulse = Pulse(on_stall=lambda seconds: print("stalled", flush=True))
    pulse.start()
    print("beats", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_process_that_was_stopped_notices_that_it_was() -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "beats\n"
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(7)
            os.kill(process.pid, signal.SIGCONT)
            assert process.stdout.readline() == "stalled\n"
        finally:
            process.kill()
