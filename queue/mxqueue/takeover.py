"""Mail that was in a queue before: accepted anew, with where it comes from on record, and not twice by accident.

A message that is taken over has a new id, and arrives now: its lifetime begins again. Under the id it had before stands
a ledger row that says under which one it goes on; by that row a second import is noticed, for as long as the ledger is
kept. Everything about one message happens in one transaction, or does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, exists, insert, literal_column, select, update

from mxqueue import intake
from mxqueue.model import LedgerEvent, Origin, RecipientState
from mxqueue.schema import ledger, recipient


@dataclass(frozen=True, slots=True)
class TakeOver:
    """What is accepted, and where it comes from."""

    work: intake.Acceptance
    origin: Origin
    actor: str
    reason: str
    again: bool


def take_over(connection: Connection, requests: list[TakeOver]) -> list[tuple[str, ...] | None]:
    """The new queue ids, None for what is known already."""
    return [_take_over(connection, request) for request in requests]


def _take_over(connection: Connection, request: TakeOver) -> tuple[str, ...] | None:
    if not request.again and is_known(connection, request.origin.key):
        return None
    (ids,) = intake.accept(connection, [request.work])
    connection.execute(insert(ledger), _rows(request))
    if request.origin.held:
        connection.execute(
            update(recipient)
            .where(recipient.c.message_id.in_(ids), recipient.c.forward_path.in_(sorted(request.origin.held)))
            .values(state=RecipientState.HELD.value)
        )
    return ids


def is_known(connection: Connection, key: str) -> bool:
    """Whether mail of this key is in the queue, or was taken over before."""
    is_here = exists().where(recipient.c.message_id == key, literal_column("recipient.state IN ('pending', 'held')"))
    went_on = exists().where(ledger.c.message_id == key, ledger.c.event == LedgerEvent.CONTINUED.value)
    return bool(connection.scalar(select(is_here | went_on)))


def _rows(request: TakeOver) -> list[dict[str, object]]:
    work, origin = request.work, request.origin
    because = f": {request.reason}" if request.reason else ""
    common: dict[str, object] = {"at": work.now, "actor": request.actor, "node": work.node}
    rows = [
        common
        | {"message_id": origin.key, "position": 0, "forward_path": "", "event": LedgerEvent.CONTINUED.value}
        | {"detail": f"as {' and '.join(work.ids)}{because}"}
    ]
    for message_id, envelope in zip(work.ids, work.envelopes, strict=True):
        for position, path in enumerate(envelope.forward_paths):
            row = common | {"message_id": message_id, "position": position, "forward_path": path}
            rows.append(row | {"event": LedgerEvent.IMPORTED.value, "detail": f"was {origin.name}{because}"})
            if path in origin.held:
                rows.append(row | {"event": LedgerEvent.HELD.value, "detail": "it was held there"})
    return rows
