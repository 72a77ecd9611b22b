"""Messages that wait for a courier, and their content on its way to one.

Contents of small messages are read together, a few messages ahead of their use; of large ones the next piece is read
while the one before is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

from mxqueue.errors import QueueError
from mxqueue.model import PREFETCH_OCTETS, Claim, Message
from mxqueue.spool import StoredContent

AHEAD_MESSAGES = 32
AHEAD_OCTETS = 2 * 1024 * 1024

Pieces = Sequence[bytes] | Exception
"""A small content that was read and found whole, or why it was not."""

Group = asyncio.Future[dict[str, Pieces]]


class Contents(Protocol):
    """Where contents are read: the queue, or what another process has in its place."""

    def content(self, message_id: str) -> Future[StoredContent]: ...
    def contents(self, message_ids: Sequence[str]) -> Future[dict[str, StoredContent]]: ...


class Load:
    """One claimed message: what a courier calls a parcel. `then` is called when it is settled."""

    __slots__ = ("_contents", "claim", "group", "message", "then")

    def __init__(self, claim: Claim, contents: Contents) -> None:
        self.claim = claim
        self.message: Message = claim.message
        self.group: Group | None = None
        self.then: Callable[[], None] | None = None
        self._contents = contents

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
        loop = asyncio.get_running_loop()
        stored = await loop.run_in_executor(None, lambda: self._contents.content(self.message.id).result())
        large = stored.chunks()
        piece = await loop.run_in_executor(None, next, large, b"")
        while piece:
            ahead = loop.run_in_executor(None, next, large, b"")
            try:
                yield piece
            except BaseException:
                # Nobody will take it, and nobody may hear of its failure.
                ahead.add_done_callback(lambda read: read.cancelled() or read.exception())
                raise
            del piece
            piece = await ahead


def _read_group(contents: Contents, ids: Sequence[str]) -> dict[str, Pieces]:
    """In a thread: the database and the hashes take their time."""
    try:
        stored = contents.contents(ids).result()
    except QueueError as error:
        # One message that has gone must not fail its neighbours.
        return {ids[0]: error} if len(ids) == 1 else _read_each(contents, ids)
    return {message_id: _whole(content) for message_id, content in stored.items()}


def _read_each(contents: Contents, ids: Sequence[str]) -> dict[str, Pieces]:
    read: dict[str, Pieces] = {}
    for message_id in ids:
        read |= _read_group(contents, [message_id])
    return read


def _whole(content: StoredContent) -> Pieces:
    try:
        return tuple(content.chunks())
    except QueueError as error:
        return error


class Shelf:
    """Loads that wait to be taken, oldest first."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._waiting: deque[Load] = deque()
        self._stirred = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, loads: Iterable[Load]) -> None:
        self._waiting.extend(loads)
        self.stir()

    def pop(self) -> Load | None:
        """The oldest one, to be delivered elsewhere: its content is not read."""
        return self._waiting.popleft() if self._waiting else None

    def take(self) -> Load | None:
        """The oldest one, None where none waits. Its content is on its way."""
        if not self._waiting:
            return None
        load = self._waiting.popleft()
        if load.group is None and load.is_small:
            self._read_ahead(load)
        return load

    def put_back(self, load: Load) -> None:
        """It was not tried after all, and is next."""
        self._waiting.appendleft(load)
        self.stir()

    def __iter__(self) -> Iterator[Load]:
        return iter(self._waiting)

    def drop(self, load: Load) -> None:
        """It waits no more, if it did."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(load)

    def clear(self) -> list[Load]:
        """All that wait, which wait here no more."""
        loads = list(self._waiting)
        self._waiting.clear()
        return loads

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
        together, octets = [first], first.message.size
        for load in self._waiting:
            octets += load.message.size
            if len(together) >= AHEAD_MESSAGES or octets > AHEAD_OCTETS:
                break
            if load.group is None and load.is_small:
                together.append(load)
        ids = [load.message.id for load in together]
        group = asyncio.get_running_loop().run_in_executor(None, _read_group, self._contents, ids)
        for load in together:
            load.group = group
