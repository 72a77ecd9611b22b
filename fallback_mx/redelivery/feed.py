"""What a drain has in hand: claimed messages, their leases, and their content on its way to a courier.

A claim that was made is either worked on, kept alive, or given back: none is forgotten, whenever it is asked to stop.
Contents of small messages are read together, a few messages ahead of their use; large ones are read piece by piece.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mxqueue import Queue
from mxqueue.contents import PREFETCH_OCTETS
from mxqueue.errors import QueueError
from mxqueue.model import Claim, Message
from mxqueue.spool import StoredContent

AHEAD_MESSAGES = 32
AHEAD_OCTETS = 2 * 1024 * 1024

Pieces = Sequence[bytes] | Exception
"""A small content that was read and found whole, or why it was not."""

Group = asyncio.Future[dict[str, Pieces]]


class Load:
    """One claimed message: what a courier calls a parcel."""

    def __init__(self, claim: Claim, queue: Queue) -> None:
        self.claim = claim
        self.group: Group | None = None
        self._queue = queue

    @property
    def message(self) -> Message:
        return self.claim.message

    @property
    def key(self) -> tuple[str, str]:
        """One message may be in hand twice, for different recipients."""
        return self.message.id, self.claim.token

    @property
    def is_small(self) -> bool:
        return self.message.size <= PREFETCH_OCTETS

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content from its start. Raises Damaged, or QueueError where it cannot be read."""
        if self.group is not None:
            # Others wait for the same read: one of them being cancelled must not end it.
            group = self.group.result() if self.group.done() else await asyncio.shield(self.group)
            pieces = group[self.message.id]
            if isinstance(pieces, Exception):
                raise pieces
            for piece in pieces:
                yield piece
            return
        stored = await asyncio.wrap_future(self._queue.content(self.message.id))
        large = stored.chunks()
        while (piece := await asyncio.to_thread(next, large, b"")) != b"":
            yield piece


def _read_group(queue: Queue, ids: Sequence[str]) -> dict[str, Pieces]:
    """In a thread: the database and the hashes take their time."""
    try:
        stored = queue.contents(ids).result()
    except QueueError as error:
        # One message that has gone must not fail its neighbours.
        return {ids[0]: error} if len(ids) == 1 else _read_each(queue, ids)
    return {message_id: _whole(content) for message_id, content in stored.items()}


def _read_each(queue: Queue, ids: Sequence[str]) -> dict[str, Pieces]:
    read: dict[str, Pieces] = {}
    for message_id in ids:
        read |= _read_group(queue, [message_id])
    return read


def _whole(content: StoredContent) -> Pieces:
    try:
        return tuple(content.chunks())
    except QueueError as error:
        return error


class Feed:
    """The claims of one drain, oldest first."""

    def __init__(self, route: str, queue: Queue, owner: str, lease: timedelta, clock: Callable[[], datetime]) -> None:
        self._route = route
        self._queue = queue
        self._owner = owner
        self._lease = lease
        self._clock = clock
        self._waiting: deque[Load] = deque()
        self._taken: dict[tuple[str, str], Load] = {}
        self._claiming: asyncio.Task[int] | None = None
        self._stirred = asyncio.Event()

    def __len__(self) -> int:
        """Loads that wait to be taken."""
        return len(self._waiting)

    @property
    def in_hand(self) -> int:
        return len(self._waiting) + len(self._taken)

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
        self._waiting.extend(Load(claim, self._queue) for claim in claims)
        self.stir()
        return len(claims)

    # Loads out --------------------------------------------------------------------------------------------------

    def take(self) -> Load | None:
        """The oldest load whose lease still runs, None where none waits. Its content is on its way."""
        while self._waiting:
            load = self._waiting.popleft()
            if load.claim.until > self._clock():
                self._taken[load.key] = load
                self._read_ahead(load)
                return load
        return None

    def adopt(self, claim: Claim) -> Load:
        """Something else was claimed than what is due: its lease is kept like those of the rest."""
        load = self._taken[(claim.message.id, claim.token)] = Load(claim, self._queue)
        return load

    def put_back(self, load: Load) -> None:
        """It was not tried after all, and is next."""
        self._taken.pop(load.key, None)
        self._waiting.appendleft(load)
        self.stir()

    def done(self, load: Load) -> None:
        """It is settled."""
        self._taken.pop(load.key, None)

    async def wait(self, seconds: float) -> bool:
        """Until something may have changed; False after `seconds` without."""
        self._stirred.clear()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stirred.wait()
        except TimeoutError:
            return False
        return True

    def stir(self) -> None:
        """Wake everybody in `wait`."""
        self._stirred.set()

    def _read_ahead(self, first: Load) -> None:
        if first.group is not None or not first.is_small:
            return
        together, octets = [first], first.message.size
        for load in self._waiting:
            octets += load.message.size
            if len(together) >= AHEAD_MESSAGES or octets > AHEAD_OCTETS:
                break
            if load.group is None and load.is_small:
                together.append(load)
        ids = [load.message.id for load in together]
        group = asyncio.get_running_loop().run_in_executor(None, _read_group, self._queue, ids)
        for load in together:
            load.group = group

    # Leases -----------------------------------------------------------------------------------------------------

    async def keep_leases(self) -> None:
        """Extend every lease in hand before it ends; for ever."""
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 4)
            # Where the queue cannot be written the leases run on as they were, and the next round tries again.
            with contextlib.suppress(QueueError):
                await self._extend(self._ending_before(self._clock() + self._lease / 2))

    def _ending_before(self, moment: datetime) -> list[Load]:
        return [load for load in [*self._taken.values(), *self._waiting] if load.claim.until <= moment]

    async def _extend(self, loads: list[Load]) -> None:
        """Let these leases run anew; what is no longer ours is in hand no more. Raises QueueError."""
        until = self._clock() + self._lease
        extending = [asyncio.wrap_future(self._queue.extend(load.claim, self._lease)) for load in loads]
        for load, is_ours in zip(loads, await asyncio.gather(*extending), strict=True):
            if is_ours:
                load.claim = replace(load.claim, until=until)
            else:
                self._taken.pop(load.key, None)
                with contextlib.suppress(ValueError):
                    self._waiting.remove(load)

    async def give_back(self) -> None:
        """End the leases of all that nobody has taken. Raises QueueError; then they end by themselves."""
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        claims = [load.claim for load in self._waiting]
        self._waiting.clear()
        if claims:
            await asyncio.wrap_future(self._queue.give_back(claims))
