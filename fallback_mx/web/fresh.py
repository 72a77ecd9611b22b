"""One answer for all who ask within a second, so that a crowd costs what one visitor costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an answer of the service is good for, and how long one is waited for.

    `rest` times as long as an answer took it is good in any case, but no longer than `longest_seconds`: whoever asks,
    no more than a part of the time goes into answering. 0 is for answers that must not be old.
    """

    fresh_seconds: float = 1.0
    answer_seconds: float = 5.0
    rest: float = 0.0
    longest_seconds: float = 5.0


UNHURRIED = Pace()


class Fresh(Generic[T]):
    """An answer that is asked for anew when it has grown old; while it is being found all wait for the same one.

    `get` raises what `ask` raises, and TimeoutError where that takes too long.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], pace: Pace) -> None:
        self._ask = ask
        self._pace = pace
        self._answer: asyncio.Task[T] | None = None
        self._asked_at = 0.0
        self._good_for = pace.fresh_seconds

    async def get(self) -> T:
        now = time.monotonic()
        if self._answer is None or (self._answer.done() and now - self._asked_at >= self._good_for):
            self._asked_at = now
            self._answer = asyncio.ensure_future(self._bounded())
        # A client that goes away must not take the answer from the others.
        return await asyncio.shield(self._answer)

    async def _bounded(self) -> T:
        began, self._good_for = time.monotonic(), self._pace.fresh_seconds
        async with asyncio.timeout(self._pace.answer_seconds):
            answer = await self._ask()
        earned = self._pace.rest * (time.monotonic() - began)
        self._good_for = max(self._pace.fresh_seconds, min(earned, self._pace.longest_seconds))
        return answer
