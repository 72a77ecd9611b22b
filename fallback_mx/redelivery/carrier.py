"""One connection's work: take a load, deliver it, record what became of it, take the next.

The load behind the one on the wire is handed to the courier early, so that its envelope can travel with the final dot.
Whatever ends the connection, each load is either on its way to the record or back in the feed: a message cut off before
its final dot was not tried, one cut off behind it is deferred as *ambiguous*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

from fallback_mx.redelivery.feed import Feed, Load
from fallback_mx.redelivery.giving_up import GivingUp
from fallback_mx.redelivery.pace import Pace
from fallback_mx.redelivery.settling import Settled, Settler
from fallback_mx.redelivery.terms import DrainEvents, DrainSettings, OnExpiry
from fallback_mx.rules.backoff import wait
from fallback_mx.rules.disposition import (
    Delivery,
    Disposition,
    Lost,
    NoConnection,
    Reply,
    Result,
    judge,
    strain,
    was_answered,
    was_served,
)
from fallback_mx.rules.dsn import Failure, Why, without_report
from fallback_mx.rules.health import Observation
from mxqueue.model import Message, Outcome, Recipient, RecipientState

# What a kill would send a second time. Settlements are committed in batches: fewer would slow a drain down by a third.
MOST_UNSETTLED = 40


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


Connect = Callable[[], Awaitable[Courier]]
"""Gives a courier, or raises NoConnection."""


class Carrier:
    """What all connections of a drain share. `may_begin` is the gate; `nudge` tells the drain to look again."""

    def __init__(
        self,
        settings: DrainSettings,
        feed: Feed,
        settler: Settler,
        pace: Pace,
        giving_up: GivingUp,
        *,
        connect: Connect,
        may_begin: Callable[[], bool],
        recovered_at: Callable[[], datetime | None],
        observe: Callable[[Observation], None],
        events: DrainEvents,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
        nudge: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._feed = feed
        self._settler = settler
        self._pace = pace
        self._giving_up = giving_up
        self._connect = connect
        self._may_begin = may_begin
        self._recovered_at = recovered_at
        self._observe = observe
        self._events = events
        self._clock = clock
        self._chance = chance
        self._nudge = nudge
        self._backoff = settings.backoff
        self._refusals = settings.refusals

    async def work(self) -> None:
        """Connect, and deliver on that connection while there is something to deliver."""
        loop = asyncio.get_running_loop()
        at, started = self._clock(), loop.time()
        try:
            courier = await self._connect()
        except NoConnection as failure:
            self._events.connection_failed(failure.phase, failure.detail)
            # Trouble with the way to the primary (DNS), or of our own, is no observation of the primary.
            if self._pace.on_no_connection(str(failure)) and not failure.is_ours:
                seconds = loop.time() - started
                self._observe(Observation(False, at, failure.phase, failure.detail, seconds))
            return
        self._pace.connections += 1
        is_counted = True
        try:
            greeting = courier.greeting
            self._events.connected(greeting.host, greeting.tls, greeting.tls_error)
            self._observe(Observation(True, at, "ehlo", greeting.host, loop.time() - started))
            self._nudge()
            await self._carry(courier)
            is_counted = not self._pace.leave_if_too_many()
            await courier.quit()
        finally:
            self._pace.connections -= is_counted
            courier.abort()

    async def _carry(self, courier: Courier) -> None:
        load = await self._first_load()
        while load is not None:
            # This load, and behind it the next one once its envelope is under way.
            hand = [load]
            self._pace.on_wire += 1
            try:
                delivery = await courier.deliver(load, partial(self._take_into, hand))
            except asyncio.CancelledError:
                self._on_cut(load, courier)
                self._put_back(hand[1:])
                raise
            except Exception as error:
                self._events.crashed(error)
                lost = _lost(load, f"{type(error).__name__} in our own program", courier.is_ambiguous)
                self._record(load, lost, courier.greeting.host)
                self._put_back(hand[1:])
                return
            finally:
                self._pace.on_wire -= 1
            self._record(load, delivery, courier.greeting.host)
            if not courier.is_usable:
                self._put_back(hand[1:])
                return
            await self._room(hand[1:])
            load = hand[1] if len(hand) > 1 else await self._next_load()

    async def _room(self, announced: list[Load]) -> None:
        try:
            await self._settler.room(max(MOST_UNSETTLED, 2 * self._settings.max_connections))
        except asyncio.CancelledError:
            self._put_back(announced)
            raise

    # Loads ------------------------------------------------------------------------------------------------------

    async def _first_load(self) -> Load | None:
        return self._feed.take() if self._may_begin() else None

    async def _next_load(self) -> Load | None:
        """The next load, waiting for one a little while: an open connection is worth more than a new one."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.linger_seconds
        while self._may_begin() and self._pace.connections <= self._pace.allowed:
            if (load := self._feed.take()) is not None:
                self._nudge_if_low()
                return load
            self._nudge()
            if not await self._feed.wait(until - loop.time()):
                return None
        return None

    def _take_into(self, hand: list[Load]) -> Load | None:
        if not self._may_begin() or self._pace.connections > self._pace.allowed:
            return None
        load = self._feed.take()
        if load is not None:
            hand.append(load)
            self._nudge_if_low()
        return load

    def _nudge_if_low(self) -> None:
        if len(self._feed) == self._settings.batch // 2:
            self._nudge()

    def _put_back(self, loads: list[Load]) -> None:
        for load in loads:
            self._feed.put_back(load)

    # Outcomes ---------------------------------------------------------------------------------------------------

    def _on_cut(self, load: Load, courier: Courier) -> None:
        if courier.is_ambiguous:
            lost = _lost(load, "stopped while waiting for the reply to the content", is_ambiguous=True)
            self._record(load, lost, courier.greeting.host)
        else:
            self._feed.put_back(load)

    def _record(self, load: Load, delivery: Delivery, host: str) -> None:
        now = self._clock()
        recovered_at = self._recovered_at()
        since = None if recovered_at is None else now - recovered_at
        dispositions = [judge(result, since, self._refusals) for result in delivery.results]
        allowed = self._pace.allowed
        slow = self._settings.slow_seconds
        served = was_served(delivery, dispositions, slow)
        said = strain(delivery, slow) if served is False else ""
        self._pace.on_served(served, said, was_answered=was_answered(delivery, slow))
        if self._pace.allowed > allowed:
            self._nudge()
        if delivery.untouched:
            self._feed.put_back(load)
            return
        outcomes: dict[int, Outcome] = {}
        failures: dict[int, Failure] = {}
        by_position: dict[int, Disposition] = {}
        for recipient, result, disposition in zip(load.message.recipients, delivery.results, dispositions, strict=True):
            outcome = self._outcome(load.message, recipient, result, disposition, now)
            if isinstance(outcome, Failure):
                failures[recipient.position] = replace(outcome, remote=host if isinstance(result, Reply) else "")
            else:
                outcomes[recipient.position] = outcome
                by_position[recipient.position] = disposition
        # The rest does not wait for what a name server has to say: a kill meanwhile would deliver it twice.
        if outcomes:
            self._settler.add(Settled(load, outcomes, by_position, is_part=bool(failures)))
        if failures:
            self._giving_up.take(load, failures)

    def _outcome(
        self, message: Message, recipient: Recipient, result: Result, disposition: Disposition, now: datetime
    ) -> Outcome | Failure:
        """A failure where the sender may have to be told."""
        reply = str(result)
        if disposition is Disposition.RETURNED:
            return Failure(recipient.forward_path, Why.REFUSED, reply)
        state = _FINAL.get(disposition)
        if state is RecipientState.DELIVERED and self._settings.retain_delivered:
            return Outcome(state, reply, keep_until=now + self._settings.retain_delivered)
        if state is not None:
            return Outcome(state, reply)
        is_ambiguous = isinstance(result, Lost) and result.ambiguous
        is_suspect = disposition is Disposition.SUSPECT
        age = now - (recipient.waits_since or message.arrived_at)
        delay = wait(recipient.attempts + 1, age, self._chance(), self._backoff)
        if delay is None:
            return self._expired(recipient, f"lifetime over: {reply}", is_ambiguous=is_ambiguous, is_suspect=is_suspect)
        if is_suspect:
            reply += " (not taken as final: the primary has only just come back)"
        return Outcome(RecipientState.PENDING, reply, not_before=now + delay, ambiguous=is_ambiguous)

    def _expired(self, recipient: Recipient, said: str, *, is_ambiguous: bool, is_suspect: bool) -> Outcome | Failure:
        on_expiry = self._settings.on_expiry
        if on_expiry is OnExpiry.BOUNCE:
            # Nobody is told that mail has failed while it may not have.
            if is_ambiguous:
                said = without_report(said, "the primary may have the message")
            elif is_suspect:
                said = without_report(said, "the primary has only just come back")
            else:
                return Failure(recipient.forward_path, Why.EXPIRED, said)
        return Outcome(on_expiry.state, said, ambiguous=is_ambiguous)


_FINAL = {
    Disposition.DELIVERED: RecipientState.DELIVERED,
    Disposition.HELD: RecipientState.HELD,
    Disposition.FAILED: RecipientState.FAILED,
}


def _lost(load: Load, detail: str, is_ambiguous: bool) -> Delivery:
    return Delivery((Lost(detail, is_ambiguous),) * len(load.message.recipients))
