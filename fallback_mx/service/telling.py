"""Telling others of changes: the first at once, those that follow closely together.

When a thousand primaries change within a second, telling everybody of everything each time would take that second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# What follows is told at least this much later, and telling takes no more than this share of the time.
SOON_SECONDS = 0.001
SHARE = 0.1


class Telling:
    """Call it when there is something to tell; `tell` is called at once, or soon. For one event loop."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._next_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next_at:
            self._do()
        else:
            self._timer = loop.call_at(self._next_at, self._do)

    def _do(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._next_at = began + SOON_SECONDS
        self._tell()
        self._next_at = max(self._next_at, loop.time() + (loop.time() - began) / SHARE)

    def stop(self) -> None:
        """Whatever was still to be told is not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
