"""Claiming and settling: the statements behind a lease.

A claim marks due recipients with an owner, a token and an end. A settlement counts only while its token is still
the lease's: a worker that slept through the end of its lease, or lost it to an operator, is told so and changes
nothing but the ledger. State, attempts, not_before and last reply change in one statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)

from mxqueue import intake
from mxqueue.among import among, among_bound
from mxqueue.ids import ids_before
from mxqueue.model import Claim, LedgerEvent, Outcome, RecipientState, Settlement
from mxqueue.prepared import Prepared, Values, texts
from mxqueue.schema import chunk, message, recipient, to_micros
from mxqueue.turns import Turns
from mxqueue.views import load_messages

# SQLite chooses its way by the spelling: `=` lets it use the partial index on what is due, `IN` keeps it to the key.
PENDING = text("state = 'pending'")
PENDING_BY_KEY = text("state IN ('pending')")
EVENTS = {
    RecipientState.PENDING: LedgerEvent.DEFERRED,
    RecipientState.HELD: LedgerEvent.HELD,
    RecipientState.DELIVERED: LedgerEvent.DELIVERED,
    RecipientState.FAILED: LedgerEvent.FAILED,
    RecipientState.EXPIRED: LedgerEvent.EXPIRED,
    RecipientState.REMOVED: LedgerEvent.REMOVED,
}
NO_LEASE: dict[str, Any] = {"lease_owner": None, "lease_token": None, "lease_until": None}


def free_at(now: datetime) -> Any:
    """No lease, or one that has run out."""
    return or_(recipient.c.lease_until.is_(None), recipient.c.lease_until <= now)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    route: str
    owner: str
    limit: int
    now: datetime
    until: datetime
    token: str


def claim(connection: Connection, request: ClaimRequest, turns: Turns) -> list[Claim]:
    """Lease the messages that are due, oldest first, domains in turn: all due recipients of up to `limit` messages."""
    due = and_(recipient.c.route == request.route, recipient.c.not_before <= request.now, free_at(request.now))
    ids = turns.next(connection, request.route, request.now, request.limit)
    if ids is not None:
        return _lease_those(connection, request, ids, due)
    oldest = select(recipient.c.message_id).where(PENDING, due)
    return _lease(connection, request, oldest.order_by(recipient.c.not_before, recipient.c.message_id), due)


def claim_aged(connection: Connection, request: ClaimRequest, before: datetime) -> list[Claim]:
    """Lease what arrived before this moment, due or not: its pending recipients that nobody is working on."""
    aged = aged_before(request.route, before, request.now)
    return _lease(
        connection, request, select(recipient.c.message_id).where(aged).order_by(recipient.c.message_id), aged
    )


def aged_before(route: str, before: datetime, now: datetime) -> ColumnElement[bool]:
    """Pending and free recipients of what arrived before this moment."""
    return and_(
        # Along the key up to the bound, rather than through all that waits on the route.
        PENDING_BY_KEY,
        recipient.c.message_id < ids_before(before),
        recipient.c.route == route,
        recipient.c.arrived_at < before,
        free_at(now),
    )


def _lease(
    connection: Connection, request: ClaimRequest, oldest: Select[str], wanted: ColumnElement[bool]
) -> list[Claim]:
    oldest = oldest.limit(request.limit)
    if connection.dialect.name == "postgresql":
        # The message is what another node skips: with its recipients locked one by one, two nodes could each hold
        # some of them and wait for the other's.
        oldest = oldest.join(message, message.c.id == recipient.c.message_id)
        oldest = oldest.with_for_update(of=message, skip_locked=True)
    return _lease_those(connection, request, list(dict.fromkeys(connection.scalars(oldest))), wanted)


def _lease_those(
    connection: Connection, request: ClaimRequest, ids: Sequence[str], wanted: ColumnElement[bool]
) -> list[Claim]:
    if not ids:
        return []
    leased = connection.execute(
        update(recipient)
        .where(among(recipient.c.message_id, ids), PENDING_BY_KEY, wanted)
        .values(lease_owner=request.owner, lease_token=request.token, lease_until=request.until)
        .returning(recipient.c.message_id, recipient.c.position)
    )
    keys = {(row[0], row[1]) for row in leased.all()}
    messages = {message.id: message for message in load_messages(connection, ids, keys)}
    return [
        Claim(message=messages[message_id], token=request.token, until=request.until)
        for message_id in ids
        if message_id in messages
    ]


def give_back(connection: Connection, claims: Sequence[Claim]) -> None:
    """End leases without an attempt; those that ran out and were taken over are left alone."""
    if claims:
        connection.execute(
            update(recipient)
            .where(
                recipient.c.message_id == bindparam("b_id"),
                recipient.c.position == bindparam("b_position"),
                recipient.c.lease_token == bindparam("b_token"),
            )
            .values(**NO_LEASE),
            [
                {"b_id": each.message_id, "b_position": each.position, "b_token": one.token}
                for one in claims
                for each in one.message.recipients
            ],
        )


def reclaim(connection: Connection) -> None:
    """End every lease. Only for who knows that nobody works on any of them: the sole service of an SQLite file."""
    connection.execute(update(recipient).where(PENDING, recipient.c.lease_token.is_not(None)).values(**NO_LEASE))


def extend(connection: Connection, one: Claim, until: datetime) -> bool:
    """Let a lease run longer, for those of its recipients not yet settled. False where it is no longer ours."""
    result = connection.execute(
        update(recipient)
        .where(recipient.c.message_id == one.message.id, recipient.c.lease_token == one.token, PENDING)
        .values(lease_until=until)
    )
    return result.rowcount > 0


@dataclass(frozen=True, slots=True)
class SettleRequest:
    settlements: Sequence[Settlement]
    now: datetime
    node: str


_TOKENS = Prepared(
    select(recipient.c.message_id, recipient.c.position, recipient.c.lease_token)
    .where(among_bound(recipient.c.message_id, "ids"), PENDING_BY_KEY, recipient.c.lease_token.is_not(None))
    .order_by(recipient.c.message_id, recipient.c.position)
    .with_for_update(),
    "ids",
)
_NOT_BEFORE = bindparam("b_not_before", type_=recipient.c.not_before.type)
_SETTLE = Prepared(
    update(recipient)
    .where(
        recipient.c.message_id == bindparam("b_id"),
        recipient.c.position == bindparam("b_position"),
        recipient.c.lease_token == bindparam("b_token"),
        PENDING,
    )
    .values(
        state=bindparam("b_state"),
        attempts=recipient.c.attempts + bindparam("b_counts"),
        not_before=func.coalesce(_NOT_BEFORE, recipient.c.not_before),
        last_reply=bindparam("b_reply"),
        delivered_at=bindparam("b_delivered_at", type_=recipient.c.delivered_at.type),
        **{column: null() for column in NO_LEASE},
    ),
    *("b_state", "b_counts", "b_not_before", "b_reply", "b_delivered_at", "b_id", "b_position", "b_token"),
)
_KEEP = Prepared(
    update(message)
    .where(
        message.c.id == bindparam("b_id"),
        func.coalesce(message.c.keep_until, literal_column("0"))
        < bindparam("b_before", type_=message.c.keep_until.type),
    )
    .values(keep_until=bindparam("b_until", type_=message.c.keep_until.type)),
    *("b_until", "b_id", "b_before"),
)
_LOCK = Prepared(
    select(message.c.id).where(among_bound(message.c.id, "ids")).order_by(message.c.id).with_for_update(), "ids"
)
_LIVE = Prepared(
    select(recipient.c.message_id).where(
        among_bound(recipient.c.message_id, "ids"), literal_column("state IN ('pending', 'held')")
    ),
    "ids",
)
_DROP = Prepared(
    delete(chunk).where(
        among_bound(chunk.c.message_id, "ids"),
        ~exists().where(message.c.id == chunk.c.message_id, message.c.keep_until.is_not(None)),
    ),
    "ids",
)


def settle(connection: Connection, requests: list[SettleRequest]) -> list[list[tuple[str, int]]]:
    """Write outcomes down. For each request the (message id, position) pairs whose lease was no longer theirs."""
    ids = {one.claim.message.id for request in requests for one in request.settlements}
    held = _current_tokens(connection, ids)
    updates: list[Values] = []
    rows: list[Values] = []
    finished: set[str] = set()
    reports: list[intake.Acceptance] = []
    kept: dict[str, datetime] = {}
    answers: list[list[tuple[str, int]]] = []
    for request in requests:
        stale: list[tuple[str, int]] = []
        for one in request.settlements:
            paths = {each.position: each.forward_path for each in one.claim.message.recipients}
            may_count = True
            if one.report is not None:
                keys = [(one.claim.message.id, position) for position in one.outcomes]
                if may_count := all(held.get(key) == one.claim.token for key in keys):
                    reports.append(intake.enclosed(one.report, request.now, request.node))
            for position, outcome in one.outcomes.items():
                key = (one.claim.message.id, position)
                fresh = may_count and held.get(key) == one.claim.token
                if fresh:
                    # Two settlements of one lease in one batch: the first counts.
                    del held[key]
                    updates.append(_bind(key, one.claim.token, outcome, request.now))
                    if not outcome.state.is_live:
                        finished.add(key[0])
                else:
                    stale.append(key)
                rows.append(_ledger_row(request, key, paths[position], outcome, fresh))
                if fresh and outcome.keep_until is not None:
                    kept[key[0]] = max(outcome.keep_until, kept.get(key[0], outcome.keep_until))
                    rows.append(_kept_row(request, key, paths[position], outcome.keep_until))
        answers.append(stale)
    _SETTLE.run(connection, updates)
    _KEEP.run(connection, [(to_micros(until), message_id, to_micros(until)) for message_id, until in kept.items()])
    intake.LEDGER.run(connection, rows)
    if reports:
        intake.accept(connection, reports)
    drop_finished(connection, finished)
    return answers


def _current_tokens(connection: Connection, ids: set[str]) -> dict[tuple[str, int], str]:
    if not ids:
        return {}
    found = _TOKENS.one(connection, texts(connection, ids))
    return {(row[0], row[1]): row[2] for row in found.all()}


def _bind(key: tuple[str, int], token: str, outcome: Outcome, now: datetime) -> Values:
    assert outcome.state is not RecipientState.PENDING or outcome.not_before is not None
    not_before = None if outcome.not_before is None else to_micros(outcome.not_before)
    delivered_at = to_micros(now) if outcome.state is RecipientState.DELIVERED else None
    return (outcome.state.value, int(outcome.counts), not_before, outcome.reply, delivered_at, *key, token)


def _ledger_row(request: SettleRequest, key: tuple[str, int], path: str, outcome: Outcome, fresh: bool) -> Values:
    if not fresh:
        event = LedgerEvent.REFUSED
    elif outcome.ambiguous:
        event = LedgerEvent.AMBIGUOUS
    else:
        event = EVENTS[outcome.state]
    detail = outcome.reply if fresh else f"{EVENTS[outcome.state].value}: {outcome.reply}"
    return (to_micros(request.now), *key, path, event.value, detail, "", request.node)


def _kept_row(request: SettleRequest, key: tuple[str, int], path: str, until: datetime) -> Values:
    detail = f"until {until:%Y-%m-%dT%H:%M:%SZ}"
    return (to_micros(request.now), *key, path, LedgerEvent.KEPT.value, detail, "", request.node)


def drop_finished(connection: Connection, ids: set[str]) -> None:
    """Delete the content of those messages of `ids` that have no live recipient left, unless it is kept."""
    if not ids:
        return
    if connection.dialect.name == "postgresql":
        # Two nodes that end the last two recipients at once would each see the other's as live: one waits here.
        _LOCK.one(connection, texts(connection, ids))
    if done := ids - live_among(connection, ids):
        _DROP.one(connection, texts(connection, done))


def live_among(connection: Connection, ids: set[str]) -> set[str]:
    """Those of these messages that have a live recipient."""
    return {row[0] for row in _LIVE.one(connection, texts(connection, ids)).all()}
