"""The sentence that a status begins with: what a person who was just woken up needs to know.

"connect-1 is down for 14 min (connection refused); 212 messages are safe; oldest 13 min."
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fallback_mx.rules.health import State
from fallback_mx.spoken import counted, duration
from fallback_mx.status import Primary, Status

NAMED = 3


def sentence(status: Status) -> str:
    """The whole status in one sentence."""
    parts = [_of_primaries(status), *_of_mail(status)]
    text = "; ".join(part for part in parts if part)
    return f"{text}."


def _of_primaries(status: Status) -> str:
    configured = [primary for primary in status.primaries if primary.is_configured]
    troubled = [primary for primary in configured if primary.state is not State.UP]
    if not troubled:
        return f"{configured[0].name} is up" if len(configured) == 1 else f"all {len(configured)} primaries are up"
    if len(troubled) > 1 and all(primary.state is State.UNKNOWN for primary in troubled) and troubled == configured:
        return "the service is not watching its primaries"
    said = [_of_primary(primary, status.as_of) for primary in _worst_first(troubled)]
    more = [f"{len(said) - NAMED} more are not up"] if len(said) > NAMED else []
    return ", ".join([*said[:NAMED], *more])


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
    if all(primary.state is State.UP for primary in waiting):
        return f"{counted(pending, 'message')} {_is(pending)} being delivered"
    return f"{counted(pending, 'message')} {_is(pending)} safe"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
