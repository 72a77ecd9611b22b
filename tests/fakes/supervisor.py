"""Kills a process again and again, and starts it anew: what a power button does to a program.

A `Supervisor` keeps a nursery: a process that has imported the victim's module and does nothing but fork it, so that a
life begins within milliseconds. `python -m tests.fakes.supervisor MODULE:FUNCTION ARGUMENT…` is that nursery.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = str(Path(__file__).resolve().parents[2])


class Supervisor:
    """One victim: `module:function`, called with these arguments in a process of its own in every life."""

    def __init__(self, victim: str, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([REPOSITORY, *sys.path])}
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.supervisor", victim, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._pid: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid is not None:
            self.kill()
        self._nursery.communicate(timeout=30)

    @property
    def pid(self) -> int:
        assert self._pid is not None, "it does not run"
        return self._pid

    def start(self) -> None:
        assert self._pid is None, "it runs already"
        self._say("start")
        self._pid = int(self._hear())

    def kill(self) -> int:
        """SIGKILL. The status it ended with: -9 unless it had ended before."""
        assert self._pid is not None, "it does not run"
        os.kill(self._pid, signal.SIGKILL)
        self._say("reap")
        self._pid = None
        return int(self._hear())

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

    def _say(self, word: str) -> None:
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(f"{word}\n".encode())
        self._nursery.stdin.flush()

    def _hear(self) -> str:
        assert self._nursery.stdout is not None
        return self._nursery.stdout.readline().decode()


def nursery(victim: str, *arguments: str) -> None:
    module, _, name = victim.partition(":")
    function = getattr(importlib.import_module(module), name)
    child = 0
    for word in sys.stdin:
        if word == "start\n":
            child = os.fork()
            if child == 0:
                # Our own words go by standard output: the victim's go elsewhere.
                os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
                function(*arguments)
                os._exit(0)
            answer = child
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    nursery(*sys.argv[1:])
