"""A courier for mail that goes everywhere: each recipient's to the exchangers of its own domain (RFC 5321, sec. 5.1).

It has a connection for each recipient of each message, and none in between: reports are few. A domain that cannot be
reached concerns its own mail alone. What is said of `deliver` in smtp/courier.py holds here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from fallback_mx.rules.disposition import Delivery, Lost, NoConnection, Result
from fallback_mx.smtp.courier import Courier, Upcoming, nothing_upcoming
from fallback_mx.smtp.dial import DialSettings, connect_first
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.parcel import Parcel, Part
from fallback_mx.smtp.route import NextHop


class Route(Protocol):
    async def next_hops(self) -> tuple[NextHop, ...]: ...


class Postman:
    """`route_to` gives the route to a domain."""

    greeting = Greeting("the exchangers of the senders' domains")
    is_usable = True

    def __init__(self, route_to: Callable[[str], Route], settings: DialSettings) -> None:
        self._route_to = route_to
        self._settings = settings
        self._courier: Courier | None = None

    @property
    def is_ambiguous(self) -> bool:
        return self._courier is not None and self._courier.is_ambiguous

    async def deliver(self, parcel: Parcel, upcoming: Upcoming = nothing_upcoming) -> Delivery:
        """Nothing is ever announced: the next parcel goes elsewhere."""
        results: list[Result] = []
        for recipient in parcel.message.recipients:
            one = Part(parcel, replace(parcel.message, recipients=(recipient,)))
            results.append(await self._deliver(one, recipient.forward_path.rpartition("@")[2]))
        # How long a stranger's server takes is not for us to hold against the others.
        return Delivery(tuple(results))

    async def _deliver(self, parcel: Parcel, domain: str) -> Result:
        try:
            hops = await self._route_to(domain).next_hops()
            self._courier = await connect_first(hops, self._settings)
        except NoConnection as failure:
            return Lost(str(failure))
        try:
            delivery = await self._courier.deliver(parcel)
            await self._courier.quit()
        except BaseException:
            self._courier.abort()
            raise
        return delivery.results[0]

    async def quit(self) -> None:
        """There is nothing to leave."""

    def abort(self) -> None:
        if self._courier is not None:
            self._courier.abort()
