"""Who carries a drain's mail: tasks, one a connection, each with its connection here or in another process.

Where there is much to do the other processes carry all of it, but for the canary; connections of this process end then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fallback_mx.redelivery.carrier import Carrier
from fallback_mx.redelivery.posts import Posts

# So many claims that found as much as they asked for show that there is much to do.
MANY_CLAIMS = 2


class Workforce:
    """`posts` are those in other processes, if there may be any. `on_done` hears of each task that has ended."""

    def __init__(self, carrier: Carrier, posts: Posts | None, on_done: Callable[[asyncio.Task[None]], None]) -> None:
        self._carrier = carrier
        self._posts = posts
        self._on_done = on_done
        self._tasks: set[asyncio.Task[None]] = set()
        self._full_claims = 0

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def on_wire(self) -> int:
        """How many messages are on their way, or given to other processes."""
        return self._carrier.on_wire + (self._posts.given if self._posts is not None else 0)

    def begin(self) -> None:
        """A drain begins: nobody knows yet how much there is to do."""
        self._full_claims = 0

    def claimed(self, *, is_full: bool) -> None:
        """A claim has been made; whether it found as much as it asked for."""
        self._full_claims += is_full

    def choose_where(self, *, is_open: bool, is_canary: bool) -> None:
        """To be called whenever one of these has changed: give the other processes work, or have it back."""
        if self._posts is None:
            return
        if self._full_claims >= MANY_CLAIMS:
            self._posts.call()
        was_elsewhere = self._carrier.is_elsewhere
        self._carrier.is_elsewhere = len(self._posts) > 0 and not is_canary
        if self._carrier.is_elsewhere and is_open:
            self._posts.give()
        elif was_elsewhere or self._posts.given:
            self._posts.shut()

    def add(self) -> None:
        """One connection more."""
        delegate = self._posts.engage() if self._posts is not None and self._carrier.is_elsewhere else None
        task = asyncio.get_running_loop().create_task(self._carrier.work(delegate))
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._on_done(task)

    async def finish(self, seconds: float) -> None:
        """Until what was begun is done, so long at most. The other processes are let go where it is."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        if not self._tasks:
            self._let_go()

    async def cut(self) -> None:
        """End what is left, now."""
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        self._let_go()

    def _let_go(self) -> None:
        if self._posts is not None:
            self._posts.leave()
