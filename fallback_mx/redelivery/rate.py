"""How many messages a drain delivers in a second, over the last minute of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0


class Rate:
    """`now` is a monotonic clock in seconds. What is counted within a second is kept as one number."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()
        self._counts: deque[tuple[float, int]] = deque()

    def begin(self) -> None:
        """A drain begins: what an earlier one did is no measure of it."""
        self._began = self._now()
        self._counts.clear()

    def count(self, messages: int) -> None:
        now = self._now()
        if self._counts and now - self._counts[-1][0] < 1.0:
            at, before = self._counts.pop()
            self._counts.append((at, before + messages))
        else:
            self._counts.append((now, messages))
        self._forget(now)

    @property
    def per_second(self) -> float:
        now = self._now()
        self._forget(now)
        # The first moments of a drain would make it seem faster than it is.
        seconds = min(max(now - self._began, 1.0), WINDOW_SECONDS)
        return sum(messages for _, messages in self._counts) / seconds

    def _forget(self, now: float) -> None:
        while self._counts and now - self._counts[0][0] > WINDOW_SECONDS:
            self._counts.popleft()
