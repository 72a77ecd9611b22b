"""What all connections of a drain share: they are opened here, given loads, and what became of those is judged here.

A connection is one of this process, or one of another process that carries mail for this drain (see post.py); either
way it is counted, observed and ended by the same rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from fallback_mx.redelivery.carrying import Courier, carry
from fallback_mx.redelivery.feed import Feed
from fallback_mx.redelivery.giving_up import GivingUp
from fallback_mx.redelivery.pace import Pace
from fallback_mx.redelivery.post import Delegate, Gone
from fallback_mx.redelivery.settling import Settled, Settler
from fallback_mx.redelivery.shelf import Load
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
        self.on_wire = 0
        self.is_elsewhere = False  # other processes carry the mail, and connections of this one end
        self._backoff = settings.backoff
        self._refusals = settings.refusals

    async def work(self, delegate: Delegate | None = None) -> None:
        """Connect, here or through the delegate, and deliver on that connection while there is something to deliver."""
        loop = asyncio.get_running_loop()
        at, started = self._clock(), loop.time()
        try:
            courier = await (self._connect() if delegate is None else delegate.open())
        except Gone:
            return
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
            if isinstance(courier, Delegate):
                await courier.carry()
            else:
                await carry(courier, self)
                is_counted = not self._pace.leave_if_too_many()
                await courier.quit()
        finally:
            self._pace.connections -= is_counted
            courier.abort()

    # Loads: see Hold in carrying.py -----------------------------------------------------------------------------

    async def next(self, *, is_first: bool) -> Load | None:
        """The next load, waiting for one a little while: an open connection is worth more than a new one."""
        if is_first:
            return self._feed.take() if self.may_take() else None
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.linger_seconds
        while (load := self.take()) is None:
            if not self.may_take():
                return None
            self._nudge()
            if not await self._feed.wait(until - loop.time()):
                return None
        return load

    def may_take(self) -> bool:
        """Whether a connection of this process may take another load."""
        return not self.is_elsewhere and self._may_begin() and self._pace.connections <= self._pace.allowed

    def take(self) -> Load | None:
        if not self.may_take():
            return None
        load = self._feed.take()
        if load is not None:
            self._nudge_if_low()
        return load

    def hand_on(self) -> Load | None:
        """The next load for a courier of another process."""
        if not self.is_elsewhere or not self._may_begin():
            return None
        load = self._feed.take(is_read_here=False)
        if load is not None:
            self._nudge_if_low()
        return load

    def _nudge_if_low(self) -> None:
        if len(self._feed) == self._settings.batch // 2:
            self._nudge()

    def put_back(self, load: Load) -> None:
        self._feed.put_back(load)

    def abandon(self, load: Load) -> None:
        self._feed.abandon(load)

    def crashed(self, error: Exception) -> None:
        self._events.crashed(error)

    async def room(self) -> None:
        await self._settler.room(self.most_unsettled)

    @property
    def most_unsettled(self) -> int:
        return max(MOST_UNSETTLED, 2 * self._settings.max_connections)

    @property
    def surplus(self) -> int:
        """How many connections there are more than are allowed."""
        return self._pace.connections - self._pace.allowed

    # Outcomes ---------------------------------------------------------------------------------------------------

    def record(self, load: Load, delivery: Delivery, host: str) -> bool:
        """What became of it. Whether all of that is on its way to the record."""
        if delivery.is_plain and delivery.seconds < self._settings.slow_seconds:
            self._record_plain(load, delivery)
            return True
        now = self._clock()
        recovered_at = self._recovered_at()
        since = None if recovered_at is None else now - recovered_at
        dispositions = [judge(result, since, self._refusals) for result in delivery.results]
        allowed = self._pace.allowed
        slow = self._settings.slow_seconds
        if served := was_served(delivery, dispositions, slow):
            self._pace.on_served(True)
        else:
            said = strain(delivery, slow) if served is False else ""
            self._pace.on_served(served, said, was_answered=was_answered(delivery, slow))
        if self._pace.allowed > allowed:
            self._nudge()
        if delivery.untouched:
            self._feed.put_back(load)
            return False
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
        return not failures

    def _record_plain(self, load: Load, delivery: Delivery) -> None:
        """All recipients were taken, as in nearly every delivery: nothing is to be judged."""
        self._on_served()
        kept = self._settings.retain_delivered
        keep_until = self._clock() + kept if kept else None
        outcomes = {
            recipient.position: Outcome(RecipientState.DELIVERED, str(reply), keep_until=keep_until)
            for recipient, reply in zip(load.message.recipients, delivery.results, strict=True)
        }
        self._settler.add(Settled(load, outcomes, {}))

    def _on_served(self) -> None:
        allowed = self._pace.allowed
        self._pace.on_served(True)
        if self._pace.allowed > allowed:
            self._nudge()

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
