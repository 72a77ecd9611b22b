"""What a drain has in hand: claimed messages and their leases.

A claim that was made is either worked on, kept alive, or given back: none is forgotten, whenever it is asked to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fallback_mx.redelivery.shelf import Load, Shelf
from mxqueue.errors import QueueError
from mxqueue.model import Claim

if TYPE_CHECKING:
    from mxqueue import Queue


class Feed:
    """The claims of one drain, oldest first."""

    def __init__(self, route: str, queue: Queue, owner: str, lease: timedelta, clock: Callable[[], datetime]) -> None:
        self._route = route
        self._queue = queue
        self._owner = owner
        self._lease = lease
        self._clock = clock
        self._shelf = Shelf(queue)
        self._taken: dict[tuple[str, str], Load] = {}
        self._claiming: asyncio.Task[int] | None = None
        self.wait = self._shelf.wait
        self.stir = self._shelf.stir

    def __len__(self) -> int:
        """Loads that wait to be taken."""
        return len(self._shelf)

    @property
    def in_hand(self) -> int:
        return len(self._shelf) + len(self._taken)

    # Claims in --------------------------------------------------------------------------------------------------

    def refill(self, limit: int, then: Callable[[asyncio.Task[int]], None]) -> None:
        """Claim up to `limit` more in the background; `then` is called with the task. One at a time."""
        if self._claiming is None:
            self._claiming = asyncio.get_running_loop().create_task(self._refill(limit))
            self._claiming.add_done_callback(then)

    @property
    def is_refilling(self) -> bool:
        return self._claiming is not None

    async def _refill(self, limit: int) -> int:
        try:
            # Where the clock has stepped past our own leases, what is in hand must not be claimed a second time.
            while ended := self._ending_before(self._clock()):
                await self._extend(ended)
            claims = await asyncio.wrap_future(
                self._queue.claim(self._route, self._owner, limit=limit, lease=self._lease)
            )
        finally:
            self._claiming = None
        self._shelf.add(Load(claim, self._queue) for claim in claims)
        return len(claims)

    # Loads out --------------------------------------------------------------------------------------------------

    def take(self, *, is_read_here: bool = True) -> Load | None:
        """The oldest load whose lease still runs, None where none waits. Its content is on its way, if it
        `is_read_here`."""
        while (load := self._shelf.take() if is_read_here else self._shelf.pop()) is not None:
            if load.claim.until > self._clock():
                self._taken[load.key] = load
                return load
        return None

    def adopt(self, claim: Claim) -> Load:
        """Something else was claimed than what is due: its lease is kept like those of the rest."""
        load = self._taken[(claim.message.id, claim.token)] = Load(claim, self._queue)
        return load

    def put_back(self, load: Load) -> None:
        """It was not tried after all, and is next."""
        self._taken.pop(load.key, None)
        self._shelf.put_back(load)

    def done(self, load: Load) -> None:
        """It is settled."""
        self._taken.pop(load.key, None)
        if load.then is not None:
            load.then()

    def abandon(self, load: Load) -> None:
        """Nobody knows what became of it: its lease runs out, and whoever claims it then tries it again."""
        self._taken.pop(load.key, None)

    # Leases -----------------------------------------------------------------------------------------------------

    async def keep_leases(self) -> None:
        """Extend every lease in hand before it ends; for ever."""
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 4)
            # Where the queue cannot be written the leases run on as they were, and the next round tries again.
            with contextlib.suppress(QueueError):
                await self._extend(self._ending_before(self._clock() + self._lease / 2))

    def _ending_before(self, moment: datetime) -> list[Load]:
        return [load for load in [*self._taken.values(), *self._shelf] if load.claim.until <= moment]

    async def _extend(self, loads: list[Load]) -> None:
        """Let these leases run anew; what is no longer ours is in hand no more. Raises QueueError."""
        until = self._clock() + self._lease
        extending = [asyncio.wrap_future(self._queue.extend(load.claim, self._lease)) for load in loads]
        for load, is_ours in zip(loads, await asyncio.gather(*extending), strict=True):
            if is_ours:
                load.claim = replace(load.claim, until=until)
            else:
                self._taken.pop(load.key, None)
                self._shelf.drop(load)

    async def give_back(self) -> None:
        """End the leases of all that nobody has taken. Raises QueueError; then they end by themselves."""
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        if claims := [load.claim for load in self._shelf.clear()]:
            await asyncio.wrap_future(self._queue.give_back(claims))
