"""A status without what is nobody's business: other customers' primaries, hosts, replies, and operators' reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fallback_mx.outages.spans import Span
from fallback_mx.published.causes import plain_cause
from fallback_mx.published.terms import Listed
from fallback_mx.rules.health import State
from fallback_mx.rules.orders import Order, Standing
from fallback_mx.status import Primary, Queued, Status
from fallback_mx.visible import impersonal, visible


def discreet(status: Status, listed: Sequence[Listed], *, shows_hosts: bool) -> Status:
    """The status of these primaries alone, by their titles, in the order in which they are listed."""
    known = {primary.name: primary for primary in status.primaries}
    shown = [(one, known.get(one.name, Primary(one.name, State.UNKNOWN, None))) for one in listed]
    return replace(
        status,
        primaries=tuple(
            _discreet(primary, one, [span for span in status.outages if span.primary == one.name], shows_hosts)
            for one, primary in shown
        ),
        outages=(),
        uptime={},
        reports=Queued(),
    )


def cause_of(span: Span, *, shows_hosts: bool) -> str:
    if shows_hosts:
        return visible(impersonal(span.cause_detail or span.cause_phase))
    return plain_cause(span.cause_phase, span.cause_detail)


def _discreet(primary: Primary, listed: Listed, outages: Sequence[Span], shows_hosts: bool) -> Primary:
    drain = primary.drain
    if drain is not None:
        drain = replace(drain, reason="", last_failure="")
    return replace(
        primary,
        name=visible(listed.title),
        cause=_cause(primary, outages, shows_hosts),
        observation=None,
        drain=drain,
        orders=Standing(_unsaid(primary.orders.pause), _unsaid(primary.orders.force)),
        is_configured=True,
    )


def _cause(primary: Primary, outages: Sequence[Span], shows_hosts: bool) -> str:
    if not primary.cause:
        return ""
    if shows_hosts:
        return visible(primary.cause)
    # What began the outage, not what was seen last of it: it is what the record says as well.
    phases = [(span.cause_phase, span.cause_detail) for span in outages if span.is_open]
    if not phases and primary.observation is not None:
        phases = [(primary.observation.phase, primary.observation.detail)]
    return plain_cause(*phases[-1]) if phases else plain_cause("", primary.cause)


def _unsaid(order: Order | None) -> Order | None:
    return None if order is None else replace(order, reason="")
