"""One primary: the way to it, its monitor, its drain, and the wires between them.

A monitor that says *up* wakes its drain in the same instant; what a drain sees of its primary is an observation for
the monitor. Operators' orders stand between the two: a force says how the primary is treated, a pause keeps its mail
here. Neither changes what is observed, nor what goes on record.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from fallback_mx import maillog
from fallback_mx.config import Primary, Server
from fallback_mx.delivering.words import Way
from fallback_mx.monitor import Monitor, MonitorSettings
from fallback_mx.outages.log import OutageLog
from fallback_mx.redelivery import Drain, DrainSettings, OnExpiry, Reporter
from fallback_mx.rules.disposition import NoConnection, OnRefusal
from fallback_mx.rules.draining import Phase
from fallback_mx.rules.health import Health, Observation, State
from fallback_mx.rules.orders import NO_ORDERS, Standing
from fallback_mx.rules.watching import PortState, Watching
from fallback_mx.service.couriers import Couriers
from fallback_mx.service.etrn import Turn
from fallback_mx.service.looks import Looks
from fallback_mx.service.next_hops import Alarms, destination_of, dial_settings
from fallback_mx.service.notices import CertificateNotice, on_beside
from fallback_mx.service.orders import Orders
from fallback_mx.service.outbound import Lessons, Outbound
from fallback_mx.service.surroundings import Surroundings
from fallback_mx.smtp.chunking import Doubts
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import DialSettings, Line, open_first
from fallback_mx.smtp.etrn import Pending
from fallback_mx.status import Live
from fallback_mx.web.metrics import Metrics
from mxqueue import Queue, QueueError, RecipientState
from mxqueue.model import utc_now

# The first looks of all primaries of a service are spread over so long at most.
FIRST_LOOKS = timedelta(seconds=5)


class Station:
    """Made in a running event loop, where it begins at once."""

    def __init__(
        self,
        primary: Primary,
        server: Server,
        queue: Queue,
        log: OutageLog,
        metrics: Metrics,
        on_crash: Callable[[], None],
        on_state: Callable[[], None],
        lessons: Lessons,
        reporter: Reporter,
        mail_came: Callable[[str], None],
        orders: Orders,
        surroundings: Surroundings,
        turn: float,
        couriers: Couriers | None = None,
    ) -> None:
        """`turn` is where it stands among all that are watched, from 0 up to 1."""
        self.primary = primary
        self._orders = orders
        self._on_crash = on_crash
        self._on_state = on_state
        self.recovered_at: datetime | None = None
        self.size_limit: int | None = None
        self._queue = queue
        destination = destination_of(primary, server)
        self._route = destination.route()
        self._dial = dial_settings(primary, server)
        self._looks = Looks(primary, server, self._route, self._line, lambda: self.drain)
        self._certificate = CertificateNotice(primary.name)
        self._doubts = Doubts(asyncio.get_running_loop().time)
        self._alarms = Alarms(primary.name, str(destination))
        self.monitor = Monitor(
            primary.name,
            monitor_settings(primary, turn),
            self._look,
            log,
            self._on_change,
            self._on_trouble,
            on_beside=on_beside,
            cut_off=None if surroundings.controls is None else surroundings.controls.cut_off,
            pulse=surroundings.pulse,
        )
        self.drain = Drain(
            primary.name,
            queue,
            _drain_settings(primary),
            connect=self._connect,
            may_deliver=self._may_deliver,
            recovered_at=lambda: self.recovered_at,
            observe=self.monitor.observe,
            events=Outbound(primary.name, str(destination), metrics, lessons, mail_came, self._on_delivered),
            clock=utc_now,
            chance=random.random,
            reporter=reporter,
            elsewhere=couriers,
            way=self._way,
        )
        self.turn = Turn(primary.etrn_from, self._route, self._start_turn, on_state)
        self._watching = asyncio.create_task(self.monitor.run())
        self._draining = asyncio.create_task(self.drain.run())
        for task in (self._watching, self._draining):
            task.add_done_callback(self._on_end)
        self._tell_orders(NO_ORDERS, orders.of(primary.name))

    @property
    def state(self) -> State:
        """How the primary is treated: as it is seen, unless somebody has ordered otherwise."""
        return self._orders.of(self.primary.name).state(self.monitor.health.state)

    def _may_deliver(self) -> bool:
        standing = self._orders.of(self.primary.name)
        return self._orders.are_known and standing.may_deliver(self.monitor.health.state)

    async def _connect(self) -> Courier:
        return Courier(*await self._line(self._dial), self._dial.announce, self._doubts)

    async def _way(self) -> Way:
        """For a courier process."""
        try:
            return Way(await self._route.next_hops(), self._dial)
        except NoConnection as failure:
            self._alarms.failed(failure)
            raise

    async def _line(self, dial: DialSettings) -> Line:
        try:
            line = await open_first(await self._route.next_hops(), dial)
        except NoConnection as failure:
            self._alarms.failed(failure)
            raise
        self._alarms.reached()
        return line

    async def _look(self) -> Observation:
        seen = await self._looks.look()
        if seen.good and seen.phase in ("ehlo", "rcpt"):
            self._learn(seen.size_limit)
        self._certificate.see(seen.certificate_expires_at, utc_now())
        return seen

    def _learn(self, size_limit: int | None) -> None:
        if size_limit != self.size_limit:
            self.size_limit = size_limit
            self._on_state()

    def _on_change(self, name: str, before: Health, after: Health) -> None:
        detail = after.last.detail if after.last is not None else ""
        self._on_state()
        maillog.primary_state(name, before=before.state.value, now=after.state.value, detail=detail)
        if after.state is State.DOWN and before.state is not State.RISING and after.failing_since is not None:
            maillog.outage_started(name, started_at=after.failing_since, cause=detail)
        if after.state is State.UP and before.state is not State.FALLING:
            # After a start nobody knows for how long it has been up: it is treated as if it had just come back.
            self._on_recovery(name, before, after)
        self.drain.wake()

    def on_orders(self, before: Standing, after: Standing) -> None:
        """Other orders stand. Where mail may go that could not go before, it goes as after an outage: a canary first,
        refusals not yet believed, and what waits out a backoff at once."""
        self._tell_orders(before, after)
        self._on_state()
        seen = self.monitor.health.state
        if after.may_deliver(seen) and not before.may_deliver(seen):
            self.recovered_at = utc_now()
            self._flush()
        self.drain.wake()

    def _tell_orders(self, before: Standing, after: Standing) -> None:
        for was, now in ((before.pause, after.pause), (before.force, after.force)):
            if was == now:
                continue
            if now is not None:
                maillog.order_began(
                    self.primary.name, what=now.what.value, until=now.until, actor=now.actor, reason=now.reason
                )
            elif was is not None:
                maillog.order_ended(self.primary.name, what=was.what.value)

    def _on_delivered(self, recipients: int) -> None:
        self.monitor.tally(delivered=recipients)

    def _on_recovery(self, name: str, before: Health, after: Health) -> None:
        self.recovered_at = utc_now()
        ended_at = before.recovering_since or after.since
        if before.failing_since is not None:
            maillog.outage_ended(name, started_at=before.failing_since, ended_at=max(ended_at, before.failing_since))
        # What waited out a backoff from before the outage need not wait any longer.
        self._flush()

    def _flush(self) -> None:
        flushing = asyncio.wrap_future(self._queue.flush(self.primary.name))
        flushing.add_done_callback(self._on_flushed)

    def _on_flushed(self, flushing: asyncio.Future[int]) -> None:
        if not flushing.cancelled() and isinstance(error := flushing.exception(), QueueError):
            maillog.trouble(f"flush of {self.primary.name}", str(error), error.advice)
        self.drain.wake()

    async def _start_turn(self, client_address: str) -> Pending | None:
        """ETRN: make due what is pending, as `queue retry` does. A primary that is not up is looked at before anything
        goes there."""
        name, state = self.primary.name, self.state
        try:
            counts = await asyncio.wrap_future(self._queue.count())
        except QueueError as error:
            maillog.trouble(f"etrn of {name}", str(error), error.advice)
            return None
        messages = sum(each.messages for each in counts if each.route == name and each.state is RecipientState.PENDING)
        maillog.etrn(name, client_address=client_address, messages=messages, state=state.value)
        self._flush()
        if self.monitor.health.state is not State.UP:
            self.monitor.look_now()
        return Pending(messages, is_up=self._may_deliver())

    def _on_trouble(self, name: str, error: Exception | None) -> None:
        if error is None:
            maillog.recovered(f"monitor of {name}")
        else:
            maillog.trouble(f"monitor of {name}", str(error), getattr(error, "advice", ""))

    @property
    def live(self) -> Live:
        health, drain = self.monitor.health, self.drain.status
        standing = self._orders.of(self.primary.name)
        if standing.pause is not None:
            drain = replace(drain, phase=Phase.PAUSED, reason=standing.pause.reason)
        return Live(health.state, health.since, health.last, drain, standing, self._watching_now())

    def _watching_now(self) -> Watching:
        last, monitor = self._looks.last, self.monitor
        decides = {str(port) for port in self.primary.down_ports}
        return Watching(
            phases=last.phases if last is not None else (),
            certificate_expires_at=last.certificate_expires_at if last is not None else None,
            slow_since=monitor.slow_since,
            ports=tuple(
                PortState(
                    port.name,
                    port.health.state,
                    port.health.failing_since or port.health.since,
                    port.health.last.detail if port.health.last is not None else "",
                    port.name in decides,
                )
                for port in monitor.ports
            ),
            cut_off_since=monitor.cut_off_since,
        )

    async def stop(self) -> None:
        """Finish or give back what is under way, write the last observations."""
        self.turn.stop()
        self.drain.stop()
        await asyncio.wait([self._draining])
        self._watching.cancel()
        await asyncio.wait([self._watching])

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Neither ends by itself: if one does, whoever supervises the service is to start it anew."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        maillog.crashed(self.primary.name, error)
        self._on_crash()


def monitor_settings(primary: Primary, turn: float) -> MonitorSettings:
    """How this primary is watched; `turn` is where it stands among all, from 0 up to 1."""
    return MonitorSettings(
        interval=primary.interval,
        rise=primary.rise,
        fall=primary.fall,
        ports=tuple(str(port) for port in (*primary.down_ports, *primary.alert_ports)),
        slow_after=primary.slow_after,
        slow_for=primary.slow_for,
        first_after=turn * min(FIRST_LOOKS, primary.interval),
        sooner=turn,
    )


def _drain_settings(primary: Primary) -> DrainSettings:
    return DrainSettings(
        max_connections=primary.max_connections,
        lifetime=primary.lifetime,
        on_expiry=OnExpiry(primary.on_expiry),
        on_refusal=OnRefusal(primary.on_refusal),
        recovery_guard=primary.recovery_guard,
        retain_delivered=primary.retain_delivered,
        grace_seconds=10.0,
    )
