"""From the event loop into the queue of this process, and back: what one transaction committed is answered together.

The writer's thread reports every message by itself; the event loop is called once for all that have come by then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mxqueue import Content, Envelope, Queue


class _Commit(NamedTuple):
    """A message between its final dot and its reply, and what became of it."""

    error: BaseException | None
    envelopes: Sequence[Envelope]
    size: int
    then: Callable[[Exception | None], None]


class QueueCommits:
    """Implements the listener's `Commits` on a queue. `accepted` hears what was committed, with sizes."""

    def __init__(self, queue: Queue, accepted: Callable[[Sequence[tuple[Envelope, int]]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._accepted = accepted
        self._done: deque[_Commit] = deque()
        self._is_called = False

    def new_id(self) -> str:
        return self._queue.new_id()

    def accept(self, envelopes: Sequence[Envelope], content: Content, then: Callable[[Exception | None], None]) -> None:
        """Commit these, then call `then` on the event loop. Envelopes have their queue ids already."""
        size = content.size
        self._queue.accept_then(
            envelopes, content, lambda error: self._on_commit(_Commit(error, envelopes, size, then))
        )

    def _on_commit(self, done: _Commit) -> None:
        """On the writer's thread."""
        self._done.append(done)
        if not self._is_called:
            self._is_called = True
            # A loop that is closed has nobody left to answer.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        # Lowered first: what is appended from now on calls again.
        self._is_called = False
        accepted: list[tuple[Envelope, int]] = []
        while self._done:
            error, envelopes, size, then = self._done.popleft()
            then(error if isinstance(error, Exception | None) else RuntimeError(str(error)))
            if error is None:
                accepted += [(envelope, size) for envelope in envelopes]
        # The senders first: what is counted and logged can wait for that long.
        if accepted:
            self._accepted(accepted)
