"""How things stand: one sentence first, then each primary. The same for `fallback-mx status` and /status.json.

It is read from the database alone, so that it is true whether or not the service runs: a primary that nobody has looked
at lately is unknown, whatever its last known state. The service puts in what it knows better, `Live`. No address of a
person is in any of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fallback_mx.maintenance import telling
from fallback_mx.maintenance.windows import NONE as NO_UPKEEP
from fallback_mx.maintenance.windows import Upkeep
from fallback_mx.outages.forms import moment, span_json
from fallback_mx.outages.spans import Span, Watch, state_on_record
from fallback_mx.rules.bouncing import REPORTS
from fallback_mx.rules.draining import DrainStatus
from fallback_mx.rules.health import Observation, State
from fallback_mx.rules.orders import NO_ORDERS, Order, Standing
from fallback_mx.rules.watching import NOTHING, Watching
from fallback_mx.sla.intervals import Interval
from fallback_mx.visible import impersonal

if TYPE_CHECKING:
    from fallback_mx.orders.book import OrderBook
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.sla.uptime import Uptime
    from mxqueue import Queue, RouteCount

# How far back a watch is looked for to say since when nobody has watched.
_LOOK_BACK = timedelta(days=400)
# A probe that waits for a late greeting, and the commit of what it saw.
_LONGEST_LOOK = timedelta(minutes=2)
# The worst that any node says of a primary is what is said of it.
_WORST_FIRST = (State.DOWN, State.RISING, State.FALLING, State.UP)


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits for one primary. A message with recipients in both states counts in both."""

    pending_messages: int = 0
    held_messages: int = 0
    recipients: int = 0
    oldest_arrived_at: datetime | None = None

    @property
    def messages(self) -> int:
        return self.pending_messages + self.held_messages


@dataclass(frozen=True, slots=True)
class Primary:
    """One primary now. `since` is None where nobody ever watched; `cause` is what failed, "" while nothing does.

    `drain` is None unless the running service itself says how its drain is doing: that is in no database.
    `is_configured` is False for mail that waits for a primary which the configuration no longer names.
    """

    name: str
    state: State
    since: datetime | None
    cause: str = ""
    observation: Observation | None = None
    queued: Queued = Queued()
    drain: DrainStatus | None = None
    orders: Standing = NO_ORDERS
    is_configured: bool = True
    upkeep: Upkeep = NO_UPKEEP
    watching: Watching = NOTHING

    @property
    def time_left(self) -> timedelta | None:
        """How long what waits will take, as it goes now; None where nothing moves."""
        return None if self.drain is None else self.drain.time_left(self.queued.pending_messages)


@dataclass(frozen=True, slots=True)
class Live:
    """What the running service knows of a primary beyond the record."""

    state: State
    since: datetime
    observation: Observation | None
    drain: DrainStatus
    orders: Standing = NO_ORDERS
    watching: Watching = NOTHING


@dataclass(frozen=True, slots=True)
class Status:
    """Everything, as of one moment; `uptime` is this month's so far, `outages` those that reach into it, `reports` what
    waits for senders elsewhere. `is_running` says whether a service holds the queue, None where that cannot be told."""

    as_of: datetime
    primaries: tuple[Primary, ...]
    outages: tuple[Span, ...]
    uptime: Mapping[str, Uptime]
    reports: Queued = Queued()
    is_running: bool | None = None


def patience(interval: timedelta) -> timedelta:
    """How old the last look at a primary may be before it counts as unwatched: the next one may take its time."""
    return 3 * interval + _LONGEST_LOOK


def month_until(now: datetime) -> Interval:
    """This calendar month in UTC, as far as it has come."""
    return Interval(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0), now)


def read_status(queue: Queue, log: OutageLog, book: OrderBook, gaps: Mapping[str, timedelta], now: datetime) -> Status:
    """Read it all from the database, blocking. `gaps` has each configured primary's longest time between two looks.

    Raises QueueError.
    """
    month = month_until(now)
    counting = queue.count()
    ordered = book.standing(now)
    listing = log.list_spans(since=month.start)
    watching = {name: log.list_watches(name, Interval(now - _LOOK_BACK, now + _LOOK_BACK)) for name in gaps}
    figuring = {name: log.uptime(name, month) for name in gaps}
    spans = listing.result()
    queued = _queued(counting.result())
    reports = queued.pop(REPORTS, Queued())
    primaries = [
        _on_record(name, gap, [span for span in spans if span.primary == name], watching[name].result(), now)
        for name, gap in gaps.items()
    ]
    strays = [Primary(name, State.UNKNOWN, None, is_configured=False) for name in queued if name not in gaps]
    orders = ordered.result()
    return Status(
        as_of=now,
        primaries=tuple(
            replace(one, queued=queued.get(one.name, Queued()), orders=orders.get(one.name, NO_ORDERS))
            for one in [*primaries, *strays]
        ),
        outages=tuple(span for span in spans if span.confirmed_at is not None),
        uptime={name: future.result() for name, future in figuring.items()},
        reports=reports,
    )


def _queued(counts: Sequence[RouteCount]) -> dict[str, Queued]:
    queued: dict[str, Queued] = {}
    for count in counts:
        before = queued.get(count.route, Queued())
        arrivals = [at for at in (before.oldest_arrived_at, count.oldest_arrived_at) if at is not None]
        is_held = count.state == "held"
        queued[count.route] = Queued(
            pending_messages=before.pending_messages + (0 if is_held else count.messages),
            held_messages=before.held_messages + (count.messages if is_held else 0),
            recipients=before.recipients + count.recipients,
            oldest_arrived_at=min(arrivals, default=None),
        )
    return queued


def _on_record(name: str, gap: timedelta, spans: Sequence[Span], watches: Sequence[Watch], now: datetime) -> Primary:
    """The worst state that a node which is watching says; unknown where none is."""
    last_of_node = {watch.node: watch for watch in sorted(watches, key=lambda watch: watch.ended_at)}
    open_of_node = {span.node: span for span in spans if span.is_open}
    said = {
        state_on_record(open_of_node.get(node), watch, now, gap): (open_of_node.get(node), watch)
        for node, watch in last_of_node.items()
    }
    for state in _WORST_FIRST:
        if state in said:
            return _as_said(name, state, *said[state], spans)
    ends = [watch.ended_at for watch in watches]
    return Primary(name, State.UNKNOWN, max(ends, default=None))


def _as_said(name: str, state: State, span: Span | None, watch: Watch, spans: Sequence[Span]) -> Primary:
    if span is None:
        ends = [one.ended_at for one in spans if one.ended_at is not None]
        seen = Observation(True, watch.ended_at, "", "")
        return Primary(name, state, max([watch.started_at, *ends]), observation=seen)
    cause = impersonal(span.cause_detail or span.cause_phase)
    is_rising = state is State.RISING and span.recovering_since is not None
    seen = Observation(is_rising, watch.ended_at, span.cause_phase, "" if is_rising else cause)
    return Primary(name, state, span.recovering_since if is_rising else span.started_at, cause, seen)


def with_live(status: Status, live: Mapping[str, Live]) -> Status:
    """The status with what the service knows better. An outage still counts from its first failed observation."""
    primaries = tuple(_enlivened(one, live.get(one.name)) for one in status.primaries)
    return replace(status, primaries=primaries, is_running=True)


def with_drains(status: Status, drains: Mapping[str, DrainStatus]) -> Status:
    """The status with how the drains go, as a running service says."""
    return replace(status, primaries=tuple(replace(one, drain=drains.get(one.name)) for one in status.primaries))


def with_upkeeps(status: Status, upkeeps: Mapping[str, Upkeep]) -> Status:
    """The status with the maintenance that is on or next."""
    primaries = (replace(one, upkeep=upkeeps.get(one.name, NO_UPKEEP)) for one in status.primaries)
    return replace(status, primaries=tuple(primaries))


def _enlivened(primary: Primary, live: Live | None) -> Primary:
    if live is None:
        return primary
    in_outage = live.state in (State.DOWN, State.FALLING) and primary.cause
    cause = primary.cause
    if not cause and live.observation is not None and not live.observation.good:
        cause = impersonal(live.observation.detail)
    return replace(
        primary,
        state=live.state,
        since=primary.since if in_outage else live.since,
        cause="" if live.state is State.UP else cause,
        observation=live.observation,
        drain=live.drain,
        orders=live.orders,
        watching=live.watching,
    )


def as_json(status: Status, text: str) -> dict[str, Any]:
    """The form of /status.json and `status --json`; `text` is the sentence."""
    return {
        "as_of": moment(status.as_of),
        "sentence": text,
        "running": status.is_running,
        "primaries": [_primary_json(primary) for primary in status.primaries],
        "outages": [span_json(span) for span in status.outages],
        "uptime": {name: uptime_json(uptime) for name, uptime in status.uptime.items()},
        "reports": {"messages": status.reports.messages, "held_messages": status.reports.held_messages},
    }


def _primary_json(primary: Primary) -> dict[str, Any]:
    seen = primary.observation
    return {
        "name": primary.name,
        "state": primary.state.value,
        "since": moment(primary.since),
        "cause": primary.cause,
        "last_observation": None
        if seen is None
        else {"at": moment(seen.at), "good": seen.good, "phase": seen.phase, "detail": impersonal(seen.detail)},
        "queue": {
            "messages": primary.queued.messages,
            "pending_messages": primary.queued.pending_messages,
            "held_messages": primary.queued.held_messages,
            "recipients": primary.queued.recipients,
            "oldest_arrived_at": moment(primary.queued.oldest_arrived_at),
        },
        "drain": None if primary.drain is None else drain_json(primary.drain, primary.time_left),
        "orders": orders_json(primary.orders),
        "maintenance": telling.as_json(primary.upkeep),
        "watching": _watching_json(primary.watching),
        "configured": primary.is_configured,
    }


def _watching_json(watching: Watching) -> dict[str, Any]:
    return {
        "phases": {phase: round(seconds, 6) for phase, seconds in watching.phases},
        "certificate_expires_at": moment(watching.certificate_expires_at),
        "slow_since": moment(watching.slow_since),
        "cut_off_since": moment(watching.cut_off_since),
        "ports": [
            {
                "port": port.name,
                "state": port.state.value,
                "since": moment(port.since),
                "detail": impersonal(port.detail),
                "decides": port.decides,
            }
            for port in watching.ports
        ],
    }


def drain_json(drain: DrainStatus, time_left: timedelta | None) -> dict[str, Any]:
    """A drain as programs get it. `seconds_left` is None where nothing moves."""
    return asdict(drain) | {
        "phase": drain.phase.value,
        "reason": impersonal(drain.reason),
        "last_failure": impersonal(drain.last_failure),
        "messages_per_second": round(drain.messages_per_second, 3),
        "put_off_seconds": round(drain.put_off_seconds, 3),
        "seconds_left": None if time_left is None else round(time_left.total_seconds()),
    }


def orders_json(orders: Standing) -> dict[str, Any]:
    """What an operator has ordered of a primary; None for nothing."""
    return {"pause": _order_json(orders.pause), "force": _order_json(orders.force)}


def _order_json(order: Order | None) -> dict[str, Any] | None:
    if order is None:
        return None
    return {
        "state": order.forced_state.value if order.forced_state is not None else None,
        "at": moment(order.at),
        "until": moment(order.until),
        "reason": impersonal(order.reason),
    }


def uptime_json(uptime: Uptime) -> dict[str, Any]:
    """A period's figures; `availability` is the share of the watched time, None where nobody watched."""
    share = uptime.availability
    return {
        "period": {"start": moment(uptime.period.start), "end": moment(uptime.period.end)},
        "up_seconds": uptime.up.total_seconds(),
        "down_seconds": uptime.down.total_seconds(),
        "unknown_seconds": uptime.unknown.total_seconds(),
        "availability": None if share is None else float(share),
    }
