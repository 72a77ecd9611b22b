"""A drain's couriers in another process: connections there are opened from here, fed from here, and counted here.

The claims stay with the drain, which keeps their leases and settles them. What is given away comes back as an outcome,
or untried. If the other process dies what it had told is on record, and nobody knows what it had done of the rest:
that is delivered again. So that a kill doubles little, no more is given away than keeps its connections busy, and it
delivers nothing more while too many outcomes are not on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fallback_mx.redelivery.shelf import Load
from fallback_mx.redelivery.words import (
    Back,
    Closed,
    Connect,
    Connected,
    Cut,
    Fewer,
    Given,
    NotConnected,
    Outcome,
    Parcel,
    Shut,
    parcel_of,
    unpacked,
)
from fallback_mx.rules.disposition import Delivery, Loop, NoConnection

# What waits there for its turn, beside what the connections have in hand; it is given in pieces of half as many, since
# the contents of a piece are read together.
WAITING_THERE = 64
CUT_SECONDS = 2.0


class Drainer(Protocol):
    """What a post needs of its drain; see carrier.py."""

    @property
    def most_unsettled(self) -> int: ...
    @property
    def surplus(self) -> int: ...
    def hand_on(self) -> Load | None: ...
    def put_back(self, load: Load) -> None: ...
    def abandon(self, load: Load) -> None: ...
    def record(self, load: Load, delivery: Delivery, host: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Afar:
    """The greeting of a connection elsewhere."""

    host: str
    tls: str | None
    tls_error: str | None


class Gone(Exception):
    """The process that was to connect has ended: that says nothing about the next hop."""


class Delegate:
    """One connection elsewhere. `carry` returns when it has ended."""

    def __init__(self, post: Post, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.opened: asyncio.Future[Afar] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._post = post

    @property
    def greeting(self) -> Afar:
        return self.opened.result()

    async def open(self) -> Delegate:
        """Raises NoConnection, Gone."""
        await self._post.connect(self)
        return self

    async def carry(self) -> None:
        self._post.give()
        try:
            await asyncio.shield(self.closed)
        except asyncio.CancelledError:
            # It says what became of what it had in hand.
            self._post.send(Cut(self.number))
            await asyncio.wait([self.closed], timeout=CUT_SECONDS)
            raise

    def abort(self) -> None:
        self._post.forget(self)


class Post:
    """The connections of one drain in one process, which `send` reaches. `way` is what that needs to connect."""

    send: Callable[[object], None]

    def __init__(self, way: Callable[[], Awaitable[object]], drainer: Drainer) -> None:
        self.is_gone = False
        self._way = way
        self._drainer = drainer
        self._loop = asyncio.get_running_loop()
        self._delegates: dict[int, Delegate] = {}
        self._given: dict[int, Load] = {}
        self._number = 0
        self._leaving = 0
        self._recorded = 0
        self._is_giving = False

    @property
    def connections(self) -> int:
        return len(self._delegates)

    @property
    def given(self) -> int:
        """How many loads are there."""
        return len(self._given)

    def engage(self) -> Delegate:
        """One connection more. It is to be opened."""
        self._number += 1
        delegate = self._delegates[self._number] = Delegate(self, self._number)
        return delegate

    async def connect(self, delegate: Delegate) -> None:
        """Raises NoConnection, Gone."""
        try:
            self.send(Connect(delegate.number, await self._way()))
            if self.is_gone:
                raise Gone
            await delegate.opened
        except BaseException:
            self.send(Cut(delegate.number))
            self.forget(delegate)
            raise

    def forget(self, delegate: Delegate) -> None:
        self._delegates.pop(delegate.number, None)
        self._leaving = min(max(0, self._leaving - 1), len(self._delegates))

    # Loads ------------------------------------------------------------------------------------------------------

    def give(self) -> None:
        """Soon, give it what it has room for."""
        if not self._is_giving and not self.is_gone:
            self._is_giving = True
            self._loop.call_soon(self._give)

    def _give(self) -> None:
        self._is_giving = False
        if self.is_gone:
            return  # since it was asked for
        open_ = sum(each.opened.done() for each in self._delegates.values())
        room = WAITING_THERE + 2 * open_ if open_ else 0
        parcels: list[Parcel] = []
        if room - len(self._given) < WAITING_THERE // 2:
            room = 0
        while len(self._given) < room and (load := self._drainer.hand_on()) is not None:
            self._number += 1
            self._given[self._number] = load
            load.then = self._on_settled
            parcels.append(parcel_of(self._number, load.message))
        if parcels or self._recorded:
            given: Given = (self._recorded, self._drainer.most_unsettled, parcels)
            self._recorded = 0
            self.send(given)

    def shut(self) -> None:
        """Nothing more is to be begun there."""
        if self._given or self._delegates:
            self.send(Shut())

    def _on_settled(self) -> None:
        self._recorded += 1
        self.give()

    def _take_back(self, number: int) -> Load | None:
        load = self._given.pop(number, None)
        if load is not None:
            load.then = None
        return load

    # What it says -----------------------------------------------------------------------------------------------

    def on_frame(self, frame: Any) -> None:
        if type(frame) is list:
            self._on_outcomes(frame)
        elif isinstance(frame, Back):
            for number in reversed(frame.loads):
                if (load := self._take_back(number)) is not None:
                    self._drainer.put_back(load)
        elif (delegate := self._delegates.get(frame.number)) is not None:
            self._on_connection(delegate, frame)

    def _on_outcomes(self, outcomes: list[Outcome]) -> None:
        for number, results, is_untouched, seconds, host in outcomes:
            load = self._given.pop(number, None)
            if load is None:
                continue
            if not self._drainer.record(load, Delivery(unpacked(results), is_untouched, seconds), host):
                # It is nothing that has to be settled, or not soon.
                load.then = None
                self._recorded += 1
        more = self._drainer.surplus - self._leaving
        if more > 0 and (more := min(more, len(self._delegates) - self._leaving)) > 0:
            self._leaving += more
            self.send(Fewer(more))
        self.give()

    @staticmethod
    def _on_connection(delegate: Delegate, frame: Any) -> None:
        if isinstance(frame, Connected):
            if not delegate.opened.done():
                delegate.opened.set_result(Afar(frame.host, frame.tls, frame.tls_error))
        elif isinstance(frame, NotConnected):
            if not delegate.opened.done():
                failure = Loop(frame.detail) if frame.is_loop else NoConnection(frame.phase, frame.detail)
                delegate.opened.set_exception(failure)
        elif isinstance(frame, Closed) and not delegate.closed.done():
            delegate.closed.set_result(None)

    def on_end(self) -> None:
        """The process has gone. What it had not told of is delivered by others, at once: it does not become clearer by
        waiting whether the next hop has some of it."""
        for load in reversed(self._given.values()):
            load.then = None
            self._drainer.put_back(load)
        self._part()

    def leave(self) -> None:
        """The drain wants nothing more of it. Of what it still has, were it not to stop, the leases run out."""
        for load in self._given.values():
            load.then = None
            self._drainer.abandon(load)
        self._part()

    def _part(self) -> None:
        self.is_gone = True
        self._given.clear()
        for delegate in list(self._delegates.values()):
            if not delegate.opened.done():
                delegate.opened.set_exception(Gone())
            elif not delegate.closed.done():
                delegate.closed.set_result(None)
