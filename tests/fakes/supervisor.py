"""Kills a process again and again, and starts it anew: what a power button does to a program."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.fakes.nursery import Child


class Supervisor:
    """One victim, in a process of its own in every life; `bear` begins the next one."""

    def __init__(self, bear: Callable[[], Child]) -> None:
        self._bear = bear
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self.kill()

    @property
    def pid(self) -> int:
        assert self._child is not None, "it does not run"
        return self._child.pid

    def start(self) -> None:
        assert self._child is None, "it runs already"
        self._child = self._bear()

    def kill(self) -> int:
        """SIGKILL. The status it ended with: -9 unless it had ended before."""
        assert self._child is not None, "it does not run"
        self._child.kill()
        status = self._child.wait()
        self._child = None
        return status

    def lives(self, kills: int, is_under_load: Callable[[], bool], chance: random.Random) -> None:
        """So many lives, each ended at some moment soon after it came under load, half of them at that very moment."""
        for life in range(kills):
            self.start()
            deadline = time.monotonic() + 60
            while not is_under_load():
                assert time.monotonic() < deadline, f"life {life} came to nothing within a minute"
                time.sleep(0.001)
            time.sleep(chance.choice([0, chance.uniform(0, 0.08)]))
            status = self.kill()
            assert status == -signal.SIGKILL, f"life {life} ended by itself: {status}"
