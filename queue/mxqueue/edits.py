"""What an operator, or time, does to mail: hold, release, remove, retry, flush, expire, purge.

An edit takes recipients that nobody is delivering at that moment; the others are reported as busy and left alone,
for what the next hop says about them is the truth. Every edit leaves a ledger row with who and why.

The large ones come in two steps: `find_…` names the messages, on a reader's connection, and its partner changes a
piece of them, looking again at each (see pieces.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    update,
)

from mxqueue.among import among
from mxqueue.ids import ids_before
from mxqueue.leases import NO_LEASE, PENDING, PENDING_BY_KEY, aged_before, drop_finished, free_at, live_among
from mxqueue.model import EPOCH, Edit, Filter, LedgerEvent, RecipientState
from mxqueue.schema import chunk, ledger, message, recipient
from mxqueue.views import condition, matching_ids


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of edit: from which states, to which, and what the ledger calls it.

    `again`: it begins anew with mail that was over, as long as its content is kept.
    """

    sources: frozenset[RecipientState]
    target: RecipientState
    event: LedgerEvent
    due_now: bool = False
    again: bool = False


HOLD = Change(frozenset({RecipientState.PENDING}), RecipientState.HELD, LedgerEvent.HELD)
RELEASE = Change(frozenset({RecipientState.HELD}), RecipientState.PENDING, LedgerEvent.RELEASED, due_now=True)
RETRY = Change(frozenset({RecipientState.PENDING}), RecipientState.PENDING, LedgerEvent.RETRIED, due_now=True)
REDELIVER = Change(
    frozenset({RecipientState.DELIVERED}),
    RecipientState.PENDING,
    LedgerEvent.REDELIVERED,
    due_now=True,
    again=True,
)
REMOVE = Change(frozenset({RecipientState.PENDING, RecipientState.HELD}), RecipientState.REMOVED, LedgerEvent.REMOVED)


@dataclass(frozen=True, slots=True)
class EditRequest:
    change: Change
    wanted: Filter
    actor: str
    reason: str
    now: datetime
    node: str

    @property
    def narrowed(self) -> Filter:
        return replace(self.wanted, states=self.wanted.states & self.change.sources)


def find_edited(connection: Connection, request: EditRequest) -> list[str]:
    """The messages with a recipient that matches and is in a state that this edit starts from."""
    if not request.narrowed.states:
        return []
    found = matching_ids(connection, request.narrowed)
    return kept_among(connection, found, request.now) if request.change.again else found


def kept_among(connection: Connection, ids: Sequence[str], now: datetime) -> list[str]:
    """Those of these messages whose content is still kept."""
    is_kept = and_(among(message.c.id, ids), message.c.keep_until > now)
    return list(connection.scalars(select(message.c.id).where(is_kept).order_by(message.c.id)))


def edit(connection: Connection, request: EditRequest, ids: Sequence[str]) -> Edit:
    """Change what matches and is free among these messages; see the module for what is left alone."""
    matching = condition(request.narrowed.of_recipients)
    if request.change.again:
        # By now it may be kept no longer. It is the collector's to lock this row, and so it is here.
        lock = select(message.c.id).where(among(message.c.id, ids)).order_by(message.c.id).with_for_update()
        connection.execute(lock)
        ids = kept_among(connection, ids, request.now)
    found = connection.execute(
        select(recipient.c.message_id, recipient.c.lease_until)
        .where(among(recipient.c.message_id, ids), matching)
        .order_by(recipient.c.message_id, recipient.c.position)
        .with_for_update()
    ).all()
    busy = {row.message_id for row in found if row.lease_until is not None and row.lease_until > request.now}
    free = list(dict.fromkeys(row.message_id for row in found if row.message_id not in busy))
    if free:
        values: dict[str, Any] = {"state": request.change.target.value, **NO_LEASE}
        if request.change.due_now:
            values["not_before"] = _due(request.now)
        if request.change.again:
            values |= {"arrived_at": request.now, "delivered_at": None}
        changed = connection.execute(
            update(recipient)
            .where(among(recipient.c.message_id, free), matching, free_at(request.now))
            .values(**values)
            .returning(recipient.c.message_id, recipient.c.position, recipient.c.forward_path)
        ).all()
        _record(connection, request.now, request.node, request.change.event, request.reason, request.actor, changed)
        if not request.change.target.is_live:
            drop_finished(connection, set(free))
    return Edit(tuple(free), tuple(sorted(busy)))


def _due(now: datetime) -> ColumnElement[datetime]:
    """Due since its arrival, so that the oldest goes first; since now where the clock was ahead when it arrived."""
    return case((recipient.c.arrived_at < now, recipient.c.arrived_at), else_=literal(now, recipient.c.arrived_at.type))


def _record(
    connection: Connection,
    now: datetime,
    node: str,
    event: LedgerEvent,
    detail: str,
    actor: str,
    rows: Sequence[Row[Any]],
) -> None:
    if not rows:
        return
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
            for row in sorted(rows, key=lambda row: (row.message_id, row.position))
        ],
    )


def note(
    connection: Connection, ids: Sequence[str], event: LedgerEvent, detail: str, actor: str, now: datetime, node: str
) -> None:
    """A ledger row for each recipient of these messages, which changes nothing else."""
    columns = (recipient.c.message_id, recipient.c.position, recipient.c.forward_path)
    rows: list[Row[Any]] = list(connection.execute(select(*columns).where(among(recipient.c.message_id, ids))))
    _record(connection, now, node, event, detail, actor, rows)


def find_waiting(connection: Connection, route: str, now: datetime) -> list[str]:
    """The messages of this route with a recipient that waits out a backoff."""
    waiting = select(recipient.c.message_id).distinct().where(PENDING, _waits(route, now))
    return list(connection.scalars(waiting.order_by(recipient.c.message_id)))


def flush(connection: Connection, route: str, now: datetime, ids: Sequence[str]) -> int:
    """Make due now what waits among these messages. Recipients changed."""
    result = connection.execute(
        update(recipient)
        .where(among(recipient.c.message_id, ids), PENDING_BY_KEY, _waits(route, now))
        .values(not_before=_due(now))
    )
    return int(result.rowcount)


def _waits(route: str, now: datetime) -> ColumnElement[bool]:
    return and_(recipient.c.route == route, recipient.c.not_before > now)


@dataclass(frozen=True, slots=True)
class ExpireRequest:
    route: str
    before: datetime
    state: RecipientState
    reason: str
    now: datetime
    node: str

    @property
    def aged(self) -> ColumnElement[bool]:
        return aged_before(self.route, self.before, self.now)


def find_aged(connection: Connection, request: ExpireRequest) -> list[str]:
    """The messages that arrived before `before`, with a recipient still pending and not being delivered."""
    aged = select(recipient.c.message_id).distinct().where(request.aged)
    return list(connection.scalars(aged.order_by(recipient.c.message_id)))


def expire(connection: Connection, request: ExpireRequest, ids: Sequence[str]) -> int:
    """End, or hold, what has aged among these messages. Recipients changed."""
    aged = connection.execute(
        update(recipient)
        .where(among(recipient.c.message_id, ids), request.aged)
        .values(
            state=request.state.value,
            last_reply=func.coalesce(func.nullif(recipient.c.last_reply, ""), request.reason),
            **NO_LEASE,
        )
        .returning(recipient.c.message_id, recipient.c.position, recipient.c.forward_path)
    ).all()
    event = LedgerEvent.HELD if request.state is RecipientState.HELD else LedgerEvent.EXPIRED
    _record(connection, request.now, request.node, event, request.reason, "", aged)
    if not request.state.is_live:
        drop_finished(connection, {row.message_id for row in aged})
    return len(aged)


def drop_kept(connection: Connection, now: datetime, node: str, limit: int = 100) -> int:
    """Delete content that was kept for long enough, of up to `limit` messages; on record. Messages looked at."""
    over = (
        select(message.c.id)
        .where(message.c.keep_until <= now)
        .order_by(message.c.keep_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = set(connection.scalars(over))
    if not ids:
        return 0
    connection.execute(update(message).where(among(message.c.id, ids)).values(keep_until=None))
    # What is being delivered once more goes when that is over, as all content does.
    done = ids - live_among(connection, ids)
    connection.execute(delete(chunk).where(among(chunk.c.message_id, done)))
    columns = (recipient.c.message_id, recipient.c.position, recipient.c.forward_path)
    was_delivered = and_(among(recipient.c.message_id, done), recipient.c.state == RecipientState.DELIVERED.value)
    delivered: list[Row[Any]] = list(connection.execute(select(*columns).where(was_delivered)))
    _record(connection, now, node, LedgerEvent.FORGOTTEN, "", "", delivered)
    return len(ids)


def purge(connection: Connection, before: datetime, limit: int = 1000) -> int:
    """Forget ledger rows from before `before`, and finished messages with nothing later; up to `limit` of each."""
    first = select(ledger.c.id).order_by(ledger.c.id).limit(limit).subquery()
    rows = connection.execute(delete(ledger).where(ledger.c.id.in_(select(first.c.id)), ledger.c.at < before))
    live = exists().where(
        recipient.c.message_id == message.c.id, literal_column("recipient.state IN ('pending', 'held')")
    )
    remembered = exists().where(ledger.c.message_id == message.c.id, ledger.c.at >= before)
    old = list(
        connection.scalars(
            select(message.c.id)
            .where(message.c.id < ids_before(before), message.c.arrived_at < before, ~live, ~remembered)
            .where(message.c.keep_until.is_(None))
            .order_by(message.c.id)
            .limit(limit)
        )
    )
    if old:
        connection.execute(delete(recipient).where(among(recipient.c.message_id, old)))
        connection.execute(delete(message).where(among(message.c.id, old)))
    if connection.dialect.name == "sqlite":
        _return_pages(connection)
    return len(old) + int(rows.rowcount)


def _return_pages(connection: Connection) -> None:
    """Give a bounded number of free pages back to the file system."""
    # It frees one page a step, and SQLAlchemy, seeing no columns, would take but the first.
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA incremental_vacuum(2000)")
    cursor.fetchall()
    cursor.close()


def ping(connection: Connection) -> None:
    """A write that must reach the disk like any other, and leaves nothing: a ledger row that comes and goes."""
    values = dict.fromkeys(("message_id", "forward_path", "event", "detail", "actor", "node"), "")
    connection.execute(insert(ledger).values(at=EPOCH, position=0, **values))
    connection.execute(delete(ledger).where(text("message_id = ''")))
