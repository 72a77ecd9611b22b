"""Recipients given up, or held, by somebody who holds no lease on them: what an operator decides about one message.

The outcomes, the ledger rows that say who decided it and why, and the report that tells the sender are one transaction:
whoever is told that mail has failed can rely on it that nobody delivers it, and nobody fails without being told of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from mxqueue import intake
from mxqueue.leases import EVENTS, NO_LEASE, drop_finished
from mxqueue.model import LIVE_STATES, Decision, RecipientState
from mxqueue.schema import ledger, recipient


@dataclass(frozen=True, slots=True)
class Request:
    decision: Decision
    actor: str
    now: datetime
    node: str


def decide(connection: Connection, request: Request) -> bool:
    """Whether it was done: all of it or nothing."""
    decision = request.decision
    positions = sorted(decision.outcomes)
    found = connection.execute(
        select(recipient)
        .where(recipient.c.message_id == decision.message_id, recipient.c.position.in_(positions))
        .order_by(recipient.c.position)
        .with_for_update()
    ).all()
    if [row.position for row in found] != positions or not all(_is_free(row, request.now) for row in found):
        return False
    for row in found:
        connection.execute(
            update(recipient)
            .where(recipient.c.message_id == row.message_id, recipient.c.position == row.position)
            .values(state=decision.outcomes[row.position].state.value, **NO_LEASE)
        )
    connection.execute(insert(ledger), [_ledger_row(request, row) for row in found])
    if decision.report is not None:
        intake.accept(connection, [intake.enclosed(decision.report, request.now, request.node)])
    drop_finished(connection, {decision.message_id})
    return True


def _is_free(row: Row[tuple[object, ...]], now: datetime) -> bool:
    return RecipientState(row.state) in LIVE_STATES and (row.lease_until is None or row.lease_until <= now)


def _ledger_row(request: Request, row: Row[tuple[object, ...]]) -> dict[str, object]:
    outcome = request.decision.outcomes[row.position]
    return {
        "at": request.now,
        "message_id": row.message_id,
        "position": row.position,
        "forward_path": row.forward_path,
        "event": EVENTS[outcome.state].value,
        "detail": outcome.reply,
        "actor": request.actor,
        "node": request.node,
    }
