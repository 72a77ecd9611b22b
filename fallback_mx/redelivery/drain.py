"""The drain of one primary: claim, deliver, settle, while the primary is up (RFC 5321, section 4.5.4.1).

It sleeps until it is woken, a recipient falls due, or a second has passed, and starts with a canary: one connection,
one message. Where no connection can be had the connection is put off and the messages are given back untried. When
the primary is no longer up, or the service stops, what is on the wire is finished (at a stop: within the grace time)
and everything else is given back; nothing stays leased. Trouble of the queue's own pauses it, and never ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from fallback_mx.redelivery.carrier import Carrier, Connect
from fallback_mx.redelivery.feed import Feed
from fallback_mx.redelivery.giving_up import GivingUp
from fallback_mx.redelivery.pace import Pace
from fallback_mx.redelivery.posts import Elsewhere, Posts, Way
from fallback_mx.redelivery.rate import Rate
from fallback_mx.redelivery.settling import Settler
from fallback_mx.redelivery.terms import DrainEvents, DrainSettings, OnExpiry, Reporter
from fallback_mx.redelivery.workforce import Workforce
from fallback_mx.rules.draining import DrainStatus, Situation
from fallback_mx.rules.health import Observation
from mxqueue.errors import QueueError

if TYPE_CHECKING:
    from mxqueue import Queue

TICK_SECONDS = 1.0
EXPIRY_SECONDS = 60.0
# What outcomes have, once no more of them come, to get on record: what does not is sent a second time.
SETTLE_SECONDS = 10.0


class Drain:
    """Drains one route. Made in a running event loop; `wake` and `stop` are called in it.

    Where there is much to do, processes `elsewhere` carry the mail, each connection on its `way`; without it all is
    done here. `may_deliver` is the gate (the primary is up and nobody paused it), `recovered_at` when the primary last
    came back; `chance` gives numbers in [0, 1). `reporter` is there where senders may have to be told of mail that is
    given up.
    """

    def __init__(
        self,
        route: str,
        queue: Queue,
        settings: DrainSettings,
        *,
        connect: Connect,
        may_deliver: Callable[[], bool],
        recovered_at: Callable[[], datetime | None],
        observe: Callable[[Observation], None],
        events: DrainEvents,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
        owner: str = "drain",
        reporter: Reporter | None = None,
        elsewhere: Elsewhere | None = None,
        way: Way | None = None,
    ) -> None:
        self._route = route
        self._queue = queue
        self._owner = owner
        self._settings = settings
        self._may_deliver = may_deliver
        self._recovered_at = recovered_at
        self._events = events
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._feed = Feed(route, queue, owner, settings.lease, clock)
        self._rate = Rate(self._loop.time)
        self._settler = Settler(queue, self._feed, events, self._rate, self.wake)
        self._pace = Pace(settings, chance, self._loop.time)
        assert reporter is not None or not settings.bounces
        self._giving_up = GivingUp(reporter, self._feed, self._settler, events, settings, clock)
        self._carrier = Carrier(
            settings,
            self._feed,
            self._settler,
            self._pace,
            self._giving_up,
            connect=connect,
            may_begin=self._is_open,
            recovered_at=recovered_at,
            observe=observe,
            events=events,
            clock=clock,
            chance=chance,
            nudge=self._nudge,
        )
        posts = None
        if elsewhere is not None and way is not None:
            posts = Posts(elsewhere, way, self._carrier, self._nudge)
        self._workers = Workforce(self._carrier, posts, self._on_worker_done)
        self._seen_recovery: datetime | None = None
        self._is_exhausted = False
        self._is_draining = False
        self._is_in_trouble = False
        self._is_stopping = False
        self._next_expiry = self._loop.time()
        self._woken = asyncio.Event()
        self._crash: BaseException | None = None

    # From outside -----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something may be due, or the gate may have moved: look now."""
        self._is_exhausted = False
        self._woken.set()

    def stop(self) -> None:
        """Begin nothing new. `run` returns once what is on the wire is finished, or the grace time is over."""
        self._is_stopping = True
        self._woken.set()
        self._feed.stir()

    def has_served_since(self, moment: float) -> bool:
        """Whether the next hop has served a message since then, by the event loop's clock."""
        return self._pace.served_at >= moment

    @property
    def connections(self) -> int:
        """How many stand now."""
        return self._pace.connections

    @property
    def status(self) -> DrainStatus:
        now = Situation(
            may_deliver=self._may_deliver(),
            is_behind=self._settler.is_behind,
            put_off_seconds=self._pace.put_off_seconds,
            is_draining=self._is_draining,
            is_canary=self._pace.is_canary,
            allowed=self._pace.allowed,
            cap=self._settings.max_connections,
            trouble=self._pace.trouble,
        )
        return DrainStatus(
            phase=now.phase,
            reason=now.reason,
            is_draining=self._is_draining,
            connections=self._pace.connections,
            allowed_connections=self._pace.allowed,
            max_connections=self._settings.max_connections,
            in_hand=self._feed.in_hand,
            delivered=self._settler.delivered,
            attempted=self._settler.attempted,
            messages_per_second=self._rate.per_second,
            last_failure=self._pace.last_failure,
            put_off_seconds=now.put_off_seconds,
        )

    async def run(self) -> None:
        """Until `stop`, or cancellation, which forgoes the grace time. Afterwards nothing is leased to this drain."""
        tasks = [self._loop.create_task(self._settler.run()), self._loop.create_task(self._feed.keep_leases())]
        for task in tasks:
            task.add_done_callback(self._on_task_done)
        try:
            while not self._is_stopping:
                self._woken.clear()
                await self._expire()
                if self._is_open() and await self._is_due():
                    await self._drain()
                else:
                    await self._doze()
        finally:
            await self._end(tasks)
        if self._crash is not None:
            raise self._crash

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        await self._workers.cut()
        await self._giving_up.stop()
        await self._settler.finish(SETTLE_SECONDS)
        await self._give_back()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    # When -------------------------------------------------------------------------------------------------------

    def _is_open(self) -> bool:
        """Whether something new may be begun."""
        return (
            not self._is_stopping
            and self._may_deliver()
            and not self._settler.is_behind
            and (self._pace.put_off_seconds == 0 or self._has_recovered())
        )

    def _has_recovered(self) -> bool:
        return self._recovered_at() != self._seen_recovery

    async def _is_due(self) -> bool:
        try:
            due = await asyncio.wrap_future(self._queue.next_due(self._route))
        except QueueError as error:
            self._on_trouble(error)
            return False
        self._is_in_trouble = False
        return due is not None and due <= self._clock()

    async def _doze(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                await self._woken.wait()
                return
        # An edit by another process wakes nobody: look again.
        self._is_exhausted = False

    async def _expire(self) -> None:
        """Now and then: what has outlived its lifetime without being tried."""
        if self._loop.time() < self._next_expiry:
            return
        self._next_expiry = self._loop.time() + EXPIRY_SECONDS
        lifetime, state = self._settings.lifetime, self._settings.on_expiry.state
        before = self._clock() - lifetime
        reason = f"not delivered within {lifetime.total_seconds() / 86400:g} days"
        try:
            if self._settings.on_expiry is OnExpiry.BOUNCE:
                await self._give_up(before, reason)
                return
            changed = await asyncio.wrap_future(self._queue.expire(self._route, before, state, reason))
        except QueueError as error:
            self._on_trouble(error)
            return
        if changed:
            self._events.expired(changed, state)

    async def _give_up(self, before: datetime, reason: str) -> None:
        """What arrived before this moment: a piece of it at a time, since the sender of each has to be asked about."""
        room = self._giving_up.room
        if room > 0:
            claiming = self._queue.claim_aged(self._route, before, self._owner, limit=room, lease=self._settings.lease)
            claims = await asyncio.wrap_future(claiming)
            for claim in claims:
                self._giving_up.take_aged(self._feed.adopt(claim), reason)
            if len(claims) < room:
                return
        self._next_expiry = self._loop.time() + TICK_SECONDS

    def _on_trouble(self, error: QueueError) -> None:
        if not self._is_in_trouble:
            self._events.trouble(error)
        self._is_in_trouble = True

    # The drain --------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Until nothing is due, or the gate shuts. What was claimed and not sent is given back."""
        if self._has_recovered():
            self._seen_recovery = self._recovered_at()
            self._pace.begin_again()
        self._is_draining, self._is_exhausted = True, False
        self._workers.begin()
        started, delivered = self._loop.time(), self._settler.delivered
        self._rate.begin()
        self._events.drain_started()
        try:
            while not self._is_stopping:
                self._woken.clear()
                self._choose_where()
                if self._is_open():
                    self._staff()
                if len(self._workers) == 0 and not self._feed.is_refilling:
                    break
                await self._doze()
            self._choose_where()
            await self._workers.finish(self._settings.grace_seconds)
        finally:
            self._is_draining = False
        await self._settler.finish(SETTLE_SECONDS)
        await self._give_back()
        self._events.drain_ended(self._settler.delivered - delivered, self._loop.time() - started)

    def _choose_where(self) -> None:
        self._workers.choose_where(is_open=self._is_open(), is_canary=self._pace.is_canary)

    def _staff(self) -> None:
        """Claim what is lacking, and open the connections that are allowed and have something to do."""
        if self._pace.is_canary:
            batch, is_low = 1, self._workers.on_wire + len(self._feed) == 0
        else:
            batch, is_low = self._settings.batch, len(self._feed) < self._settings.batch
        if is_low and not self._is_exhausted:
            self._feed.refill(batch, self._on_refilled)
        # Where no connection stands yet the first must, before there are more: one failure is enough to learn from.
        wanted = self._pace.allowed if self._pace.connections else 1
        for _ in range(min(wanted - len(self._workers), len(self._feed))):
            self._workers.add()

    async def _give_back(self) -> None:
        try:
            await self._feed.give_back()
        except QueueError as error:
            self._on_trouble(error)

    # Tasks ------------------------------------------------------------------------------------------------------

    def _nudge(self) -> None:
        self._woken.set()

    def _on_refilled(self, claiming: asyncio.Task[int]) -> None:
        error = claiming.exception()
        if isinstance(error, QueueError):
            self._on_trouble(error)
        elif error is not None:
            self._on_task_done(claiming)
        self._is_exhausted = error is not None or claiming.result() == 0
        self._workers.claimed(is_full=error is None and claiming.result() >= self._settings.batch)
        self._woken.set()

    def _on_worker_done(self, worker: asyncio.Task[None]) -> None:
        self._woken.set()
        self._on_task_done(worker)

    def _on_task_done(self, task: asyncio.Task[None] | asyncio.Task[int]) -> None:
        """A task that fails for a reason nobody foresaw ends the drain in order: `run` raises it at its end."""
        if not task.cancelled() and task.exception() is not None:
            self._crash = task.exception()
            self.stop()
