"""The sentence that a status begins with: what a person who was just woken up needs to know.

"connect-1 is down for 14 min (connection refused); 212 messages are safe; oldest 13 min."
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fallback_mx.maintenance import telling
from fallback_mx.rules.draining import DrainStatus, Phase
from fallback_mx.rules.health import State
from fallback_mx.rules.orders import Order
from fallback_mx.spoken import counted, duration
from fallback_mx.status import Primary, Status
from fallback_mx.visible import impersonal

NAMED = 3


def sentence(status: Status) -> str:
    """The whole status in one sentence."""
    beside = [] if _is_cut_off(status) else _of_beside(status)
    said = [*_of_orders(status), *_of_upkeep(status), *_of_mail(status), *_of_drains(status)]
    parts = [_of_primaries(status), *beside, *said]
    text = "; ".join(part for part in parts if part)
    return f"{text}."


def _of_primaries(status: Status) -> str:
    configured = [primary for primary in status.primaries if primary.is_configured]
    if status.is_running is False:
        return _of_stopped(configured, status.as_of)
    if _is_cut_off(status):
        since = min(each for one in configured if (each := one.watching.cut_off_since) is not None)
        return f"this machine is cut off from the network for {duration(status.as_of - since)}, and takes mail"
    troubled = [primary for primary in configured if primary.state is not State.UP]
    if not troubled:
        return f"{configured[0].name} is up" if len(configured) == 1 else f"all {len(configured)} primaries are up"
    if len(troubled) > 1 and all(primary.state is State.UNKNOWN for primary in troubled) and troubled == configured:
        return "the service is not watching its primaries"
    said = [_of_primary(primary, status.as_of) for primary in _worst_first(troubled)]
    more = [f"{len(said) - NAMED} more are not up"] if len(said) > NAMED else []
    return ", ".join([*said[:NAMED], *more])


def _of_stopped(configured: Sequence[Primary], now: datetime) -> str:
    """Nobody takes mail or watches: that goes before whatever was seen last."""
    ends = [primary.since for primary in configured if primary.state is State.UNKNOWN and primary.since is not None]
    watched = f"; its primaries were last watched {duration(now - max(ends))} ago" if ends else ""
    return f"the service is not running{watched}"


def _is_cut_off(status: Status) -> bool:
    """Whether of all primaries that are not seen to be up nobody knows how they are, since our own network is gone."""
    unseen = [one for one in status.primaries if one.is_configured and one.state is not State.UP]
    return bool(unseen) and all(one.watching.cut_off_since is not None for one in unseen)


def _of_beside(status: Status) -> list[str]:
    """What is the matter with primaries, beside that they are down."""
    said = []
    for primary in status.primaries:
        if (since := primary.watching.slow_since) is not None:
            said.append(f"{primary.name} is slow for {duration(status.as_of - since)}")
        closed = [port for port in primary.watching.ports if port.state is State.DOWN and not port.decides]
        if closed:
            numbers = ", ".join(port.name for port in closed)
            said.append(f"nobody answers at port {numbers} of {primary.name}")
    return said[:NAMED]


def _worst_first(primaries: Sequence[Primary]) -> list[Primary]:
    order = (State.DOWN, State.FALLING, State.RISING, State.UNKNOWN)
    return sorted(primaries, key=lambda primary: order.index(primary.state))


def _of_primary(primary: Primary, now: datetime) -> str:
    length = duration(now - primary.since) if primary.since is not None else ""
    cause = f" ({primary.cause})" if primary.cause else ""
    match primary.state:
        case State.DOWN:
            return f"{primary.name} is down for {length}{cause}"
        case State.FALLING:
            return f"{primary.name} has failed for {length}{cause}"
        case State.RISING:
            return f"{primary.name} answers again for {length}"
        case _:
            since = f" for {length}" if length else ""
            return f"the service has not been watching {primary.name}{since}"


def _of_orders(status: Status) -> list[str]:
    """What stands by an operator's word: nobody is to look for another reason."""
    said = []
    for primary in status.primaries:
        if (pause := primary.orders.pause) is not None:
            said.append(f"{primary.name} is paused {_until(pause, status.as_of)}")
        if (force := primary.orders.force) is not None and force.forced_state is not None:
            said.append(f"{primary.name} is forced {force.forced_state.value} {_until(force, status.as_of)}")
    return said


def _of_upkeep(status: Status) -> list[str]:
    """Maintenance that is on or soon to come."""
    said = [each for one in status.primaries for each in telling.words(one.name, one.upkeep, status.as_of)]
    more = [f"{len(said) - NAMED} more windows of maintenance"] if len(said) > NAMED else []
    return [*said[:NAMED], *more]


def _until(order: Order, now: datetime) -> str:
    ends = "until it is resumed" if order.until is None else f"for {duration(order.until - now)} more"
    return f"{ends} ({impersonal(order.reason)})" if order.reason else ends


def _of_mail(status: Status) -> list[str]:
    pending = sum(primary.queued.pending_messages for primary in status.primaries if primary.is_configured)
    held = sum(primary.queued.held_messages for primary in status.primaries if primary.is_configured)
    strays = [primary for primary in status.primaries if not primary.is_configured]
    parts = [_of_pending(pending, status)] if pending or not (held or strays) else []
    if held:
        parts.append(f"{counted(held, 'message')} {_is(held)} held")
    oldest = [primary.queued.oldest_arrived_at for primary in status.primaries]
    arrivals = [at for at in oldest if at is not None]
    if arrivals:
        parts.append(f"oldest {duration(status.as_of - min(arrivals))}")
    if status.reports.messages:
        held_reports = status.reports.held_messages
        of_them = f", {held_reports} of them held" if held_reports else ""
        parts.append(f"{counted(status.reports.messages, 'report')} to senders{of_them}")
    for stray in strays:
        waiting = stray.queued.messages
        parts.append(f"{counted(waiting, 'message')} for {stray.name}, which is not in the configuration")
    return parts


def _of_pending(pending: int, status: Status) -> str:
    if not pending:
        return "no message waits"
    waiting = [primary for primary in status.primaries if primary.queued.pending_messages]
    if all(primary.orders.may_deliver(primary.state) for primary in waiting):
        return f"{counted(pending, 'message')} {_is(pending)} being delivered"
    return f"{counted(pending, 'message')} {_is(pending)} safe"


def _of_drains(status: Status) -> list[str]:
    """How it goes where mail waits, as far as a running service says so."""
    said = []
    for primary in status.primaries:
        if primary.drain is not None and primary.queued.pending_messages and (words := _of_drain(primary.drain)):
            left = primary.time_left
            said.append(f"{primary.name} {words}" + (f", {duration(left)} left" if left is not None else ""))
    return said[:NAMED]


def _of_drain(drain: DrainStatus) -> str:
    why = f" ({impersonal(drain.reason)})" if drain.reason else ""
    rate = f" at {drain.messages_per_second:.3g} messages/s" if drain.messages_per_second else ""
    match drain.phase:
        case Phase.CANARY:
            return f"gets one message first{why}"
        case Phase.RAMPING:
            return f"gets more and more, {drain.allowed_connections} of {drain.max_connections} connections{rate}"
        case Phase.SLOWED:
            return f"gets {drain.allowed_connections} of {drain.max_connections} connections{why}{rate}"
        case Phase.AT_CAP:
            return f"gets all {counted(drain.max_connections, 'connection')}{rate}"
        case Phase.PUT_OFF:
            return f"is left alone for {max(1, round(drain.put_off_seconds))} s{why}"
        case Phase.BEHIND:
            return "gets nothing new: outcomes cannot be written down"
        case _:
            return ""


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
