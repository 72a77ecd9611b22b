"""What is done on one connection: take a load, deliver it, say what became of it, take the next.

The load behind the one on the wire is handed to the courier early, so that its envelope can travel with the final dot.
Whatever ends the connection, each load has its outcome or is put back: a message cut off before its final dot was not
tried, one cut off behind it is deferred as *ambiguous*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from fallback_mx.redelivery.shelf import Load
from fallback_mx.rules.disposition import Delivery, Lost


class Greeting(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def tls(self) -> str | None: ...
    @property
    def tls_error(self) -> str | None: ...


class Courier(Protocol):
    """One connection to the next hop; see smtp/courier.py."""

    @property
    def greeting(self) -> Greeting: ...
    @property
    def is_usable(self) -> bool: ...
    @property
    def is_ambiguous(self) -> bool: ...
    async def deliver(self, parcel: Load, upcoming: Callable[[], Load | None]) -> Delivery: ...
    async def quit(self) -> None: ...
    def abort(self) -> None: ...


class Hold(Protocol):
    """Where loads come from, and what became of them goes to: the drain's own, or the one of another process."""

    on_wire: int

    async def next(self, *, is_first: bool) -> Load | None:
        """The next load, waiting for one a little while; None where the connection is to end."""

    def take(self) -> Load | None:
        """The next load, if there is one now and it may be begun."""

    def put_back(self, load: Load) -> None: ...
    def record(self, load: Load, delivery: Delivery, host: str) -> object: ...
    def crashed(self, error: Exception) -> None: ...

    async def room(self) -> None:
        """Until few enough outcomes are not on record."""


async def carry(courier: Courier, hold: Hold) -> None:
    """Until the connection is to end, or has ended."""
    load = await hold.next(is_first=True)
    # Behind the load on the wire the next one, once its envelope is under way.
    behind: list[Load] = []

    def upcoming() -> Load | None:
        if (announced := hold.take()) is not None:
            behind.append(announced)
        return announced

    def put_back() -> None:
        while behind:
            hold.put_back(behind.pop())

    while load is not None:
        hold.on_wire += 1
        try:
            delivery = await courier.deliver(load, upcoming)
        except asyncio.CancelledError:
            if courier.is_ambiguous:
                said = "stopped while waiting for the reply to the content"
                hold.record(load, lost(load, said, is_ambiguous=True), courier.greeting.host)
            else:
                hold.put_back(load)
            put_back()
            raise
        except Exception as error:
            hold.crashed(error)
            said = f"{type(error).__name__} in our own program"
            hold.record(load, lost(load, said, courier.is_ambiguous), courier.greeting.host)
            put_back()
            return
        finally:
            hold.on_wire -= 1
        hold.record(load, delivery, courier.greeting.host)
        if not courier.is_usable:
            put_back()
            return
        try:
            await hold.room()
        except asyncio.CancelledError:
            put_back()
            raise
        load = behind.pop() if behind else await hold.next(is_first=False)


def lost(load: Load, detail: str, is_ambiguous: bool) -> Delivery:
    return Delivery((Lost(detail, is_ambiguous),) * len(load.message.recipients))
