"""What an operator, or time, does to mail: hold, release, remove, retry, expire, purge.

An edit takes recipients that nobody is delivering at that moment; the others are reported as busy and left alone,
for what the next hop says about them is the truth. Every edit leaves a ledger row with who and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, literal_column, select, update

from mxqueue.leases import PENDING, drop_finished, free_at
from mxqueue.model import Edit, Filter, LedgerEvent, RecipientState
from mxqueue.schema import ledger, message, recipient
from mxqueue.views import condition


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of edit: from which states, to which, and what the ledger calls it."""

    sources: frozenset[RecipientState]
    target: RecipientState
    event: LedgerEvent
    due_now: bool = False


HOLD = Change(frozenset({RecipientState.PENDING}), RecipientState.HELD, LedgerEvent.HELD)
RELEASE = Change(frozenset({RecipientState.HELD}), RecipientState.PENDING, LedgerEvent.RELEASED, due_now=True)
RETRY = Change(frozenset({RecipientState.PENDING}), RecipientState.PENDING, LedgerEvent.RETRIED, due_now=True)
REMOVE = Change(frozenset({RecipientState.PENDING, RecipientState.HELD}), RecipientState.REMOVED, LedgerEvent.REMOVED)


@dataclass(frozen=True, slots=True)
class EditRequest:
    change: Change
    wanted: Filter
    actor: str
    reason: str
    now: datetime
    node: str


_UPDATE = (
    update(recipient)
    .where(recipient.c.message_id == bindparam("b_id"), recipient.c.position == bindparam("b_position"))
    .values(
        state=bindparam("b_state"),
        not_before=func.coalesce(bindparam("b_not_before", type_=recipient.c.not_before.type), recipient.c.not_before),
        lease_owner=None,
        lease_token=None,
        lease_until=None,
    )
)


def edit(connection: Connection, request: EditRequest) -> Edit:
    """Change what matches and is free; see the module for what is left alone."""
    change = request.change
    narrowed = Filter(
        ids=request.wanted.ids,
        route=request.wanted.route,
        domain=request.wanted.domain,
        sender=request.wanted.sender,
        recipient=request.wanted.recipient,
        states=request.wanted.states & change.sources,
        arrived_before=request.wanted.arrived_before,
        arrived_after=request.wanted.arrived_after,
    )
    if not narrowed.states:
        return Edit(())
    found = connection.execute(
        select(
            recipient.c.message_id,
            recipient.c.position,
            recipient.c.forward_path,
            recipient.c.arrived_at,
            recipient.c.lease_until,
        )
        .join(message, message.c.id == recipient.c.message_id)
        .where(condition(narrowed))
        .order_by(recipient.c.message_id, recipient.c.position)
        .with_for_update(of=recipient)
    ).all()
    busy = {row.message_id for row in found if row.lease_until is not None and row.lease_until > request.now}
    free = [row for row in found if row.message_id not in busy]
    if free:
        connection.execute(
            _UPDATE,
            [
                {
                    "b_id": row.message_id,
                    "b_position": row.position,
                    "b_state": change.target.value,
                    "b_not_before": row.arrived_at if change.due_now else None,
                }
                for row in free
            ],
        )
        _record(connection, request.now, request.node, change.event, request.reason, request.actor, free)
    changed = tuple(dict.fromkeys(row.message_id for row in free))
    if not change.target.is_live:
        drop_finished(connection, set(changed))
    return Edit(changed, tuple(sorted(busy)))


def _record(
    connection: Connection,
    now: datetime,
    node: str,
    event: LedgerEvent,
    detail: str,
    actor: str,
    rows: list[Any],
) -> None:
    connection.execute(
        insert(ledger),
        [
            {
                "at": now,
                "message_id": row.message_id,
                "position": row.position,
                "forward_path": row.forward_path,
                "event": event.value,
                "detail": detail,
                "actor": actor,
                "node": node,
            }
            for row in rows
        ],
    )


def flush(connection: Connection, route: str, now: datetime) -> int:
    """Make due now what is waiting out a backoff: since its arrival, so that the oldest goes first."""
    result = connection.execute(
        update(recipient)
        .where(PENDING, recipient.c.route == route, recipient.c.not_before > now)
        .values(not_before=recipient.c.arrived_at)
    )
    return int(result.rowcount)


@dataclass(frozen=True, slots=True)
class ExpireRequest:
    route: str
    before: datetime
    state: RecipientState
    reason: str
    now: datetime
    node: str


def expire(connection: Connection, request: ExpireRequest) -> int:
    """End, or hold, what arrived before `before`, is still pending and is not being delivered. Recipients changed."""
    aged = connection.execute(
        update(recipient)
        .where(
            PENDING,
            recipient.c.route == request.route,
            recipient.c.arrived_at < request.before,
            free_at(request.now),
        )
        .values(
            state=request.state.value,
            last_reply=func.coalesce(func.nullif(recipient.c.last_reply, ""), request.reason),
            lease_owner=None,
            lease_token=None,
            lease_until=None,
        )
        .returning(recipient.c.message_id, recipient.c.position, recipient.c.forward_path)
    ).all()
    if aged:
        event = LedgerEvent.HELD if request.state is RecipientState.HELD else LedgerEvent.EXPIRED
        _record(connection, request.now, request.node, event, request.reason, "", list(aged))
        if not request.state.is_live:
            drop_finished(connection, {row.message_id for row in aged})
    return len(aged)


def purge(connection: Connection, before: datetime, limit: int = 1000) -> int:
    """Forget finished messages that arrived before `before`, and ledger rows as old; up to `limit` of each."""
    live = exists().where(
        recipient.c.message_id == message.c.id, literal_column("recipient.state IN ('pending', 'held')")
    )
    old = list(connection.scalars(select(message.c.id).where(message.c.arrived_at < before, ~live).limit(limit)))
    if old:
        connection.execute(delete(recipient).where(recipient.c.message_id.in_(old)))
        connection.execute(delete(message).where(message.c.id.in_(old)))
    first = select(ledger.c.id).order_by(ledger.c.id).limit(limit).subquery()
    rows = connection.execute(delete(ledger).where(ledger.c.id.in_(select(first.c.id)), ledger.c.at < before))
    return len(old) + int(rows.rowcount)
