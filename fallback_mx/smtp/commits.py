"""From the event loop into the queue of this process, and back: what one transaction committed is answered together.

The writer's thread reports every message by itself; the event loop is called once for all that have come by then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from mxqueue import Content, Envelope, Queue


@dataclass(frozen=True, slots=True, eq=False)
class _Commit:
    """A message between its final dot and its reply."""

    future: Future[tuple[str, ...]]
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
        work = _Commit(self._queue.accept(envelopes, content), envelopes, content.size, then)
        work.future.add_done_callback(lambda future: self._on_commit(work))

    def _on_commit(self, work: _Commit) -> None:
        """On the writer's thread."""
        self._done.append(work)
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        # Lowered first: what is appended from now on calls again.
        self._is_called = False
        accepted: list[tuple[Envelope, int]] = []
        while self._done:
            work = self._done.popleft()
            error = work.future.exception()
            work.then(error if isinstance(error, Exception | None) else RuntimeError(str(error)))
            if error is None:
                accepted += [(envelope, work.size) for envelope in work.envelopes]
        # The senders first: what is counted and logged can wait for that long.
        if accepted:
            self._accepted(accepted)
