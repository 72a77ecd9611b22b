"""Reading the queue: rows into values, listings, counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, literal_column, or_, select, text

from mxqueue.among import among, among_bound
from mxqueue.model import (
    LIVE_STATES,
    Filter,
    Message,
    Recipient,
    RecipientState,
    RouteCount,
)
from mxqueue.prepared import Prepared, texts
from mxqueue.schema import from_micros, message, recipient

_RECIPIENTS = Prepared(
    select(
        *(recipient.c.message_id, recipient.c.position, recipient.c.forward_path, recipient.c.state),
        *(recipient.c.attempts, recipient.c.not_before, recipient.c.last_reply, recipient.c.lease_owner),
        *(recipient.c.lease_until, recipient.c.notify, recipient.c.orcpt, recipient.c.arrived_at),
        recipient.c.delivered_at,
    )
    .where(among_bound(recipient.c.message_id, "ids"))
    .order_by(recipient.c.message_id, recipient.c.position),
    "ids",
)
_MESSAGES = Prepared(
    select(
        *(message.c.id, message.c.arrived_at, message.c.reverse_path, message.c.route, message.c.size),
        *(message.c.client_address, message.c.helo, message.c.trace, message.c.body, message.c.smtputf8),
        *(message.c.node, message.c.ret, message.c.envid, message.c.keep_until),
    )
    .where(among_bound(message.c.id, "ids"))
    .order_by(message.c.id),
    "ids",
)


def load_messages(
    connection: Connection, ids: Iterable[str], only: set[tuple[str, int]] | None = None
) -> list[Message]:
    """These messages with their recipients, oldest first; `only` narrows the recipients to these keys."""
    wanted = texts(connection, ids)
    recipients: dict[str, list[Recipient]] = {}
    for row in _RECIPIENTS.one(connection, wanted).all():
        if only is None or (row[0], row[1]) in only:
            recipients.setdefault(row[0], []).append(_recipient(*row))
    return [
        _message(tuple(recipients.get(row[0], ())), *row)
        for row in _MESSAGES.one(connection, wanted).all()
        if only is None or row[0] in recipients
    ]


def _recipient(
    message_id: str,
    position: int,
    forward_path: str,
    state: str,
    attempts: int,
    not_before: int,
    last_reply: str,
    lease_owner: str | None,
    lease_until: int | None,
    notify: str,
    orcpt: str,
    arrived_at: int,
    delivered_at: int | None,
) -> Recipient:
    return Recipient(
        message_id=message_id,
        position=position,
        forward_path=forward_path,
        state=RecipientState(state),
        attempts=attempts,
        not_before=from_micros(not_before),
        last_reply=last_reply,
        lease_owner=lease_owner,
        lease_until=None if lease_until is None else from_micros(lease_until),
        notify=notify,
        orcpt=orcpt,
        waits_since=from_micros(arrived_at),
        delivered_at=None if delivered_at is None else from_micros(delivered_at),
    )


def _message(
    recipients: tuple[Recipient, ...],
    id: str,
    arrived_at: int,
    reverse_path: str,
    route: str,
    size: int,
    client_address: str,
    helo: str,
    trace: bytes,
    body: str,
    smtputf8: int,
    node: str,
    ret: str,
    envid: str,
    keep_until: int | None,
) -> Message:
    return Message(
        id=id,
        arrived_at=from_micros(arrived_at),
        reverse_path=reverse_path,
        route=route,
        size=size,
        client_address=client_address,
        helo=helo,
        trace=trace,
        body=body,
        smtputf8=bool(smtputf8),
        node=node,
        recipients=recipients,
        ret=ret,
        envid=envid,
        keep_until=None if keep_until is None else from_micros(keep_until),
    )


def _state_condition(states: frozenset[RecipientState]) -> ColumnElement[bool]:
    """Spelled out, for SQLite chooses by the spelling.

    What is held is few: `=` lets it use the partial index. Anything else is read along the key, which is the order
    of a listing: by the index on what is pending each page would sort everything that waits.
    """
    if states == {RecipientState.HELD}:
        return literal_column("recipient.state = 'held'")
    names = ", ".join(f"'{state.value}'" for state in sorted(states))
    return literal_column(f"recipient.state IN ({names})")


def condition(wanted: Filter) -> ColumnElement[bool]:
    """What a Filter means, on the recipient table joined with message."""
    parts: list[ColumnElement[bool]] = [_state_condition(wanted.states)]
    if wanted.ids:
        parts.append(among(recipient.c.message_id, wanted.ids))
    if wanted.route is not None:
        parts.append(recipient.c.route == wanted.route)
    if wanted.domain is not None:
        parts.append(func.lower(recipient.c.forward_path).endswith("@" + wanted.domain.lower(), autoescape=True))
    if wanted.recipient is not None:
        parts.append(func.lower(recipient.c.forward_path) == wanted.recipient.lower())
    if wanted.sender is not None:
        parts.append(func.lower(message.c.reverse_path) == wanted.sender.lower())
    if wanted.arrived_before is not None:
        parts.append(recipient.c.arrived_at < wanted.arrived_before)
    if wanted.arrived_after is not None:
        parts.append(recipient.c.arrived_at > wanted.arrived_after)
    if wanted.delivered_before is not None:
        parts.append(recipient.c.delivered_at < wanted.delivered_before)
    if wanted.delivered_after is not None:
        parts.append(recipient.c.delivered_at > wanted.delivered_after)
    if wanted.larger_than is not None:
        parts.append(message.c.size > wanted.larger_than)
    if wanted.reply is not None:
        parts.append(_reply_condition(wanted.reply))
    return and_(*parts)


_CODE = re.compile(r"[245](?:[0-9]{2}|xx)")


def _reply_condition(wanted: str) -> ColumnElement[bool]:
    """A code stands where a reply begins, ours before it or not ("lifetime over: 451 later"); text stands anywhere."""
    if _CODE.fullmatch(wanted) is None:
        return func.lower(recipient.c.last_reply).contains(wanted.lower(), autoescape=True)
    code = wanted.replace("x", "_")
    return or_(*(recipient.c.last_reply.like(form) for form in (code, f"{code} %", f"%: {code} %")))


def matching_ids(
    connection: Connection, wanted: Filter, limit: int | None = None, after: str | None = None
) -> list[str]:
    """Up to `limit` queue ids that match, in order of arrival, behind the id `after`."""
    query = select(recipient.c.message_id).distinct().where(condition(wanted))
    if wanted.of_message:
        query = query.join(message, message.c.id == recipient.c.message_id)
    if after is not None:
        query = query.where(recipient.c.message_id > after)
    return list(connection.scalars(query.order_by(recipient.c.message_id).limit(limit)))


def matching_positions(connection: Connection, wanted: Filter, ids: Iterable[str]) -> dict[str, frozenset[int]]:
    """Of messages that match: the positions of those recipients that do."""
    query = select(recipient.c.message_id, recipient.c.position).where(
        among(recipient.c.message_id, ids), condition(wanted.of_recipients)
    )
    found: dict[str, set[int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.message_id, set()).add(row.position)
    return {message_id: frozenset(positions) for message_id, positions in found.items()}


PAGE = 500


def list_messages(connection: Connection, wanted: Filter, limit: int | None, after: str | None) -> list[Message]:
    """Messages with a recipient that matches, with all their recipients, in order of arrival."""
    ids = matching_ids(connection, wanted, limit, after)
    pages = (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
    return [each for page in pages for each in load_messages(connection, page)]


def count(connection: Connection) -> list[RouteCount]:
    """What waits, by route and live state.

    Reads the partial indexes alone, but for recipients that are not their message's first. A message is counted at
    the first of its recipients in that state, and the oldest is the one with the lowest queue id.
    """
    counts: list[RouteCount] = []
    earlier = recipient.alias("earlier")
    for state in sorted(LIVE_STATES):
        is_state: ColumnElement[bool] = literal_column(f"earlier.state = '{state.value}'")
        is_first = ~exists().where(
            earlier.c.message_id == recipient.c.message_id, earlier.c.position < recipient.c.position, is_state
        )
        rows = connection.execute(
            select(
                recipient.c.route,
                func.sum(case((recipient.c.position == 0, 1), (is_first, 1), else_=0)).label("messages"),
                func.count().label("recipients"),
                func.min(recipient.c.message_id).label("oldest"),
            )
            .where(literal_column(f"recipient.state = '{state.value}'"))
            .group_by(recipient.c.route)
            .order_by(recipient.c.route)
        ).all()
        arrivals = select(message.c.id, message.c.arrived_at).where(among(message.c.id, [row.oldest for row in rows]))
        arrived_at = {row.id: row.arrived_at for row in connection.execute(arrivals)}
        counts.extend(
            RouteCount(row.route, state, int(row.messages), row.recipients, arrived_at.get(row.oldest)) for row in rows
        )
    return counts


def next_due(connection: Connection, route: str, now: datetime) -> datetime | None:
    """When the first pending recipient of this route that nobody holds a lease on is due."""
    return connection.scalar(
        select(recipient.c.not_before)
        .where(
            text("state = 'pending'"),
            recipient.c.route == route,
            or_(recipient.c.lease_until.is_(None), recipient.c.lease_until <= now),
        )
        .order_by(recipient.c.not_before)
        .limit(1)
    )
