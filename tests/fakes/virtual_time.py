"""An event loop whose clock jumps to the next timer whenever there is nothing else to do.

A test that waits an hour takes no time, and finds every timer at its exact second. Sockets and threads work, but time
does not wait for them: what a test has to wait for must be on the loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self._jump(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._seconds = 0.0
        super().__init__(_JumpingSelector(self.pass_by))

    def time(self) -> float:
        return self._seconds

    def pass_by(self, seconds: float) -> None:
        """So much time goes by."""
        self._seconds += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, from second 0 of a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
