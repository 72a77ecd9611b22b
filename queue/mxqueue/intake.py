"""Mail in: the statements that store envelopes, recipients and content, many acceptances in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from mxqueue.errors import QueueError
from mxqueue.model import CHUNK_SIZE, Content, Envelope, LedgerEvent, RecipientState
from mxqueue.schema import chunk, ledger, message, recipient


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Envelopes that share one content, with the queue ids they will have."""

    ids: tuple[str, ...]
    envelopes: tuple[Envelope, ...]
    content: Content
    now: datetime
    node: str


def accept(connection: Connection, batch: list[Acceptance]) -> list[tuple[str, ...]]:
    """Store everything. For each acceptance its queue ids."""
    messages: list[dict[str, Any]] = []
    recipients: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for work in batch:
        if not work.envelopes or not all(envelope.forward_paths for envelope in work.envelopes):
            raise QueueError("an envelope wants a recipient", "This is a defect of the service: please report it.")
        for message_id, envelope in zip(work.ids, work.envelopes, strict=True):
            messages.append(_message_values(work, message_id, envelope))
            for position, path in enumerate(envelope.forward_paths):
                recipients.append(_recipient_values(work, message_id, envelope.route, position, path))
                rows.append(_accepted_row(work, message_id, envelope, position, path))
    connection.execute(insert(message), messages)
    connection.execute(insert(recipient), recipients)
    connection.execute(insert(ledger), rows)
    _store_content(connection, batch)
    return [work.ids for work in batch]


def _message_values(work: Acceptance, message_id: str, envelope: Envelope) -> dict[str, Any]:
    return {
        "id": message_id,
        "arrived_at": work.now,
        "reverse_path": envelope.reverse_path,
        "route": envelope.route,
        "size": work.content.size,
        "sha256": work.content.sha256,
        "client_address": envelope.client_address,
        "helo": envelope.helo,
        "trace": envelope.trace,
        "body": envelope.body,
        "smtputf8": envelope.smtputf8,
        "node": work.node,
    }


def _recipient_values(work: Acceptance, message_id: str, route: str, position: int, path: str) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "position": position,
        "forward_path": path,
        "route": route,
        "arrived_at": work.now,
        "state": RecipientState.PENDING.value,
        "attempts": 0,
        "not_before": work.now,
        "last_reply": "",
    }


def _accepted_row(work: Acceptance, message_id: str, envelope: Envelope, position: int, path: str) -> dict[str, Any]:
    return {
        "at": work.now,
        "message_id": message_id,
        "position": position,
        "forward_path": path,
        "event": LedgerEvent.ACCEPTED.value,
        "detail": f"from {envelope.client_address}" if envelope.client_address else "",
        "actor": "",
        "node": work.node,
    }


def _store_content(connection: Connection, batch: list[Acceptance]) -> None:
    """Small contents together in one statement, large ones a chunk at a time."""
    statement = insert(chunk)
    small: list[dict[str, Any]] = []
    for work in batch:
        for message_id in work.ids:
            for position, octets in enumerate(work.content.chunks()):
                row = {"message_id": message_id, "position": position, "octets": octets}
                if work.content.size <= CHUNK_SIZE:
                    small.append(row)
                else:
                    connection.execute(statement, row)
    if small:
        connection.execute(statement, small)
