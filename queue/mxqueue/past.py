"""Reading the ledger: what happened to a message, or to all the mail of one recipient, also when it is long gone.

The ledger has an index by message alone: one by recipient would cost every accept and every delivery something, for a
question that is asked now and then. So the mail of a recipient is looked for along that index, from the moment that is
asked about; a million messages take some seconds, and a page is in memory at a time.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from mxqueue.among import among
from mxqueue.ids import ids_before
from mxqueue.model import LedgerEvent, LedgerRow
from mxqueue.schema import ledger


def ledger_rows(connection: Connection, message_id: str) -> list[LedgerRow]:
    """All that ever happened to this message, in order."""
    return _rows(connection, [message_id], None)


def messages_to(
    connection: Connection, recipient: str, since: datetime | None, limit: int, after: str | None
) -> list[str]:
    """Up to `limit` queue ids behind `after` whose mail the ledger says was for this recipient, in order of arrival."""
    query = select(ledger.c.message_id).distinct().where(func.lower(ledger.c.forward_path) == recipient.lower())
    if since is not None:
        query = query.where(ledger.c.message_id >= ids_before(since))
    if after is not None:
        query = query.where(ledger.c.message_id > after)
    return list(connection.scalars(query.order_by(ledger.c.message_id).limit(limit)))


def ledger_rows_to(connection: Connection, message_ids: list[str], recipient: str) -> list[LedgerRow]:
    """What happened to this recipient's copies of these messages, message by message, in order."""
    return _rows(connection, message_ids, recipient)


def _rows(connection: Connection, message_ids: list[str], recipient: str | None) -> list[LedgerRow]:
    query = select(ledger).where(among(ledger.c.message_id, message_ids)).order_by(ledger.c.message_id, ledger.c.id)
    if recipient is not None:
        query = query.where(func.lower(ledger.c.forward_path) == recipient.lower())
    return [
        LedgerRow(
            at=row.at,
            message_id=row.message_id,
            position=row.position,
            forward_path=row.forward_path,
            event=LedgerEvent(row.event),
            detail=row.detail,
            actor=row.actor,
            node=row.node,
        )
        for row in connection.execute(query)
    ]
