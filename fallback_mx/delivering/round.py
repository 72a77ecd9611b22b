"""The couriers of one drain in this process: they take what its drain gives, and tell it what became of that.

Outcomes are told a few at a time. While too many of them are not on record no connection goes on to its next message:
what is not there when somebody is killed is delivered a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fallback_mx import maillog
from fallback_mx.delivering.words import Way
from fallback_mx.redelivery.carrying import carry
from fallback_mx.redelivery.shelf import Contents, Load, Shelf
from fallback_mx.redelivery.words import (
    Back,
    Closed,
    Connect,
    Connected,
    Cut,
    Fewer,
    NotConnected,
    Outcome,
    Shut,
    claim_of,
    packed,
)
from fallback_mx.rules.disposition import Delivery, Loop, NoConnection
from fallback_mx.smtp.chunking import Doubts
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import open_first

TELL_SECONDS = 0.002
LINGER_SECONDS = 0.5


class Round:
    """Implements `Hold`, for all connections of the drain."""

    def __init__(self, send: Callable[[object], None], contents: Contents) -> None:
        self.on_wire = 0
        self._send = send
        self._contents = contents
        self._loop = asyncio.get_running_loop()
        self._shelf = Shelf(contents)
        self._doubts = Doubts(self._loop.time)
        self._connections: dict[int, asyncio.Task[None]] = {}
        self._leaving = 0
        self._outcomes: list[Outcome] = []
        self._unrecorded = 0
        self._most_unrecorded = 1
        self._room = asyncio.Event()

    def on_frame(self, frame: Any) -> None:
        if type(frame) is tuple:
            recorded, self._most_unrecorded, parcels = frame
            self._unrecorded -= recorded
            self._room.set()
            self._shelf.add(Load(claim_of(parcel), self._contents) for parcel in parcels)
            if not self._connections:
                self._give_back()
        elif isinstance(frame, Connect):
            assert isinstance(frame.way, Way)
            opened = self._loop.create_task(self._connect(frame.number, frame.way))
            self._connections[frame.number] = opened
            opened.add_done_callback(lambda task: self._on_end(frame.number, task))
        elif isinstance(frame, Shut):
            self._give_back()
            self._leaving = len(self._connections)
            self._shelf.stir()
        elif isinstance(frame, Fewer):
            self._leaving += frame.connections
            self._shelf.stir()
        elif isinstance(frame, Cut) and (connection := self._connections.get(frame.number)) is not None:
            connection.cancel()

    def end(self) -> None:
        """Cut what is left."""
        for connection in self._connections.values():
            connection.cancel()

    async def _connect(self, number: int, way: Way) -> None:
        try:
            line = await open_first(way.hops, way.dial)
        except NoConnection as failure:
            is_loop = isinstance(failure, Loop)
            self._send(NotConnected(number, failure.phase, failure.detail, is_loop))
            return
        courier = Courier(*line, way.dial.announce, self._doubts)
        try:
            greeting = courier.greeting
            self._send(Connected(number, greeting.host, greeting.tls, greeting.tls_error))
            await carry(courier, self)
            await courier.quit()
        finally:
            courier.abort()

    def _on_end(self, number: int, connection: asyncio.Task[None]) -> None:
        del self._connections[number]
        if not self._connections:
            self._leaving = 0
            self._give_back()
        self._tell()
        self._send(Closed(number))
        if not connection.cancelled() and (error := connection.exception()) is not None:
            maillog.crashed("courier process", error)

    def _give_back(self) -> None:
        if waiting := self._shelf.clear():
            self._send(Back([_number(load) for load in waiting]))

    # For the connections ----------------------------------------------------------------------------------------

    async def next(self, *, is_first: bool) -> Load | None:
        until = self._loop.time() + LINGER_SECONDS
        while True:
            if self._leaving:
                self._leaving -= 1
                return None
            if (load := self._shelf.take()) is not None:
                return load
            if not await self._shelf.wait(until - self._loop.time()):
                return None

    def take(self) -> Load | None:
        return None if self._leaving else self._shelf.take()

    def put_back(self, load: Load) -> None:
        """The drain is to say where it goes next."""
        self._send(Back([_number(load)]))

    def record(self, load: Load, delivery: Delivery, host: str) -> None:
        if not self._outcomes:
            self._loop.call_later(TELL_SECONDS, self._tell)
        self._outcomes.append(
            (_number(load), packed(delivery.results), delivery.untouched, delivery.seconds, host),
        )
        self._unrecorded += 1

    def crashed(self, error: Exception) -> None:
        maillog.crashed("courier process", error)

    async def room(self) -> None:
        while self._unrecorded > self._most_unrecorded:
            self._room.clear()
            await self._room.wait()

    def _tell(self) -> None:
        if self._outcomes:
            self._send(self._outcomes)
            self._outcomes = []


def _number(load: Load) -> int:
    return int(load.claim.token)
