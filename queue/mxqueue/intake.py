"""Mail in: the statements that store envelopes, recipients and content, many acceptances in one transaction."""

from __future__ import annotations

from datetime import datetime
from itertools import repeat
from typing import NamedTuple

from sqlalchemy import Connection, Table, bindparam, insert

from mxqueue.errors import QueueError
from mxqueue.model import CHUNK_SIZE, Content, Enclosed, Envelope, LedgerEvent, RecipientState, ReportRequest
from mxqueue.prepared import Prepared
from mxqueue.schema import chunk, ledger, message, recipient, to_micros


class Acceptance(NamedTuple):
    """Envelopes that share one content, with the queue ids they will have. `source` says in the ledger where they come
    from; where it is empty, the client does."""

    ids: tuple[str, ...]
    envelopes: tuple[Envelope, ...]
    content: Content
    now: datetime
    node: str
    source: str = ""


def _insert(table: Table, *columns: str) -> Prepared:
    return Prepared(insert(table).values({column: bindparam(column) for column in columns}), *columns)


_MESSAGE = _insert(
    message,
    *("id", "arrived_at", "reverse_path", "route", "size", "sha256"),
    *("client_address", "helo", "trace", "body", "smtputf8", "node", "ret", "envid"),
)
_RECIPIENT = _insert(
    recipient,
    *("message_id", "position", "forward_path", "route", "arrived_at", "state"),
    *("attempts", "not_before", "last_reply", "notify", "orcpt", "domain"),
)
LEDGER = _insert(ledger, "at", "message_id", "position", "forward_path", "event", "detail", "actor", "node")
_CHUNK = _insert(chunk, "message_id", "position", "octets")
_NO_REQUESTS = repeat(ReportRequest())
_PENDING = RecipientState.PENDING.value
_ACCEPTED, _AMBIGUOUS = LedgerEvent.ACCEPTED.value, LedgerEvent.AMBIGUOUS.value


def accept(connection: Connection, batch: list[Acceptance]) -> list[tuple[str, ...]]:
    """Store everything. For each acceptance its queue ids."""
    messages: list[tuple[object, ...]] = []
    recipients: list[tuple[object, ...]] = []
    rows: list[tuple[object, ...]] = []
    # SQLite's driver asks around what a bool might be, and takes as long over it as over the rest of the row.
    flag = int if connection.dialect.name == "sqlite" else bool
    for work in batch:
        _check(work)
        now = to_micros(work.now)
        for message_id, envelope in zip(work.ids, work.envelopes, strict=True):
            messages.append(_message_row(work, now, message_id, envelope, flag))
            source = work.source or (f"from {envelope.client_address}" if envelope.client_address else "")
            requests = envelope.report_requests or _NO_REQUESTS
            doubt = envelope.ambiguous
            # The next hop has been tried already; its reply is what is missing.
            tried = (1, now, doubt) if doubt else (0, now, "")
            for position, (path, asked) in enumerate(zip(envelope.forward_paths, requests, strict=False)):
                row = (message_id, position, path, envelope.route, now, _PENDING, *tried, asked.notify, asked.orcpt)
                recipients.append((*row, path.rpartition("@")[2].lower()))
                rows.append((now, message_id, position, path, _ACCEPTED, source, "", work.node))
                if doubt:
                    rows.append((now, message_id, position, path, _AMBIGUOUS, doubt, "", work.node))
    _MESSAGE.run(connection, messages)
    _RECIPIENT.run(connection, recipients)
    LEDGER.run(connection, rows)
    _store_content(connection, batch)
    return [work.ids for work in batch]


def enclosed(report: Enclosed, now: datetime, node: str) -> Acceptance:
    """A message of our own, whose envelope has its queue id already."""
    assert report.envelope.id
    return Acceptance((report.envelope.id,), (report.envelope,), report.content, now, node, report.about)


def _check(work: Acceptance) -> None:
    """What is no envelope is refused before anything is made of it."""
    wrong = "an envelope wants a recipient" if not work.envelopes else ""
    for envelope in work.envelopes:
        if not envelope.forward_paths:
            wrong = "an envelope wants a recipient"
        elif envelope.report_requests and len(envelope.report_requests) != len(envelope.forward_paths):
            wrong = "a request for reports wants its recipient"
    if wrong:
        raise QueueError(wrong, "This is a defect of the service: please report it.")


def _message_row(
    work: Acceptance, now: int, message_id: str, envelope: Envelope, flag: type[int]
) -> tuple[object, ...]:
    return (
        message_id,
        now,
        envelope.reverse_path,
        envelope.route,
        work.content.size,
        work.content.sha256,
        envelope.client_address,
        envelope.helo,
        envelope.trace,
        envelope.body,
        flag(envelope.smtputf8),
        work.node,
        envelope.ret,
        envelope.envid,
    )


def _store_content(connection: Connection, batch: list[Acceptance]) -> None:
    """Small contents together in one statement, large ones a chunk at a time."""
    small: list[tuple[object, ...]] = []
    for work in batch:
        for message_id in work.ids:
            for position, octets in enumerate(work.content.chunks()):
                row = (message_id, position, octets)
                if work.content.size <= CHUNK_SIZE:
                    small.append(row)
                else:
                    _CHUNK.run(connection, [row])
    _CHUNK.run(connection, small)
