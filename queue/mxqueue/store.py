"""The queue: what was accepted is here until somebody says, on the record, what became of it.

Every call returns a `concurrent.futures.Future`: `.result()` waits for it, `asyncio.wrap_future` awaits it. A write's
future resolves after its commit has reached stable storage, and fails with a `QueueError` if nothing was written.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, insert, select, text
from ulid import ULIDGenerator

from mxqueue import edits, leases, migrate, views
from mxqueue.engine import READERS, create_private_file, database_path, lock, make_engine
from mxqueue.errors import NoSuchMessage, QueueError, classify
from mxqueue.model import (
    CHUNK_SIZE,
    Claim,
    Content,
    Edit,
    Envelope,
    Filter,
    LedgerEvent,
    LedgerRow,
    Message,
    RecipientState,
    RouteCount,
    Settlement,
    utc_now,
)
from mxqueue.schema import chunk, ledger, message, recipient
from mxqueue.spool import StoredContent
from mxqueue.writer import Checkpointer, Writer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Acceptance:
    ids: tuple[str, ...]
    envelopes: tuple[Envelope, ...]
    content: Content
    now: datetime
    node: str


class Queue:
    """A durable mail queue on SQLite or PostgreSQL. Safe to use from any thread; see `open`."""

    def __init__(
        self,
        url: str,
        *,
        node: str,
        clock: Callable[[], datetime],
        ledger_retention: timedelta,
        held_lock: IO[bytes] | None,
    ) -> None:
        self._node = node
        self._clock = clock
        self._ledger_retention = ledger_retention
        self._lock = held_lock
        self._write_engine = make_engine(url, writes=True)
        self._read_engine = make_engine(url, writes=False)
        self.path = database_path(url)
        self._ids = ULIDGenerator()
        self.writer = Writer(self._write_engine)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="mxqueue-reader")
        self._checkpointer = Checkpointer(self.path) if self.path is not None else None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        node: str,
        clock: Callable[[], datetime] = utc_now,
        exclusive: bool = False,
        ledger_retention: timedelta = timedelta(days=90),
        migrations: Sequence[migrate.Migrations] = (migrate.QUEUE,),
    ) -> Queue:
        """Open the queue at this URL.

        `exclusive` is how a service opens it: an SQLite file is created where it is missing, tables are made on an
        empty database, and a second service is refused. Without it the queue must exist and be up to date.
        `migrations` names every alembic environment whose tables this program keeps in the database.
        Raises QueueError: UnsafeSQLite, NoQueue, AlreadyServed, SchemaTooNew, SchemaTooOld, QueueUnavailable.
        """
        path = database_path(url)
        held_lock = None
        if path is not None and exclusive:
            held_lock = lock(path)
            create_private_file(path)
        try:
            engine = make_engine(url, writes=True)
            try:
                for one in migrations:
                    (migrate.prepare if exclusive else migrate.check)(engine, one)
            finally:
                engine.dispose()
            return cls(url, node=node, clock=clock, ledger_retention=ledger_retention, held_lock=held_lock)
        except Exception as error:
            if held_lock is not None:
                held_lock.close()
            raise classify(error) from error

    def close(self) -> None:
        """Finish the writes that were submitted, then let go of the database. May be called twice."""
        self.writer.close()
        self._readers.shutdown()
        if self._checkpointer is not None:
            self._checkpointer.close()
        self._read_engine.dispose()
        self._write_engine.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def trouble(self) -> QueueError | None:
        """Why the last commit failed, None once one has succeeded again."""
        return self.writer.trouble

    @property
    def directory(self) -> Path | None:
        """Where the database lies, None for a database server."""
        return self.path.parent if self.path is not None else None

    def read(self, op: Callable[[Connection], T]) -> Future[T]:
        """Run `op` on a reader's connection."""
        return self._readers.submit(_read, self._read_engine, op)

    def ping(self) -> Future[None]:
        """Whether a transaction can be written: it commits one that changes nothing."""
        return self.writer.submit(_ping)

    def new_id(self) -> str:
        """A fresh queue id (a ULID): sorts behind the ids this process made before, while the clock goes forward."""
        return str(self._ids.generate())

    # Mail in ----------------------------------------------------------------------------------------------------

    def accept(self, envelopes: Sequence[Envelope], content: Content) -> Future[tuple[str, ...]]:
        """Store one message for each envelope, all with this content, all or none. Their queue ids.

        `content` is read on the writer's thread and must stay readable until the future is done.
        """
        ids = tuple(envelope.id or self.new_id() for envelope in envelopes)
        work = _Acceptance(ids, tuple(envelopes), content, self._clock(), self._node)
        return self.writer.submit_bulk(_accept, work, content.size * len(ids))

    # Mail out ---------------------------------------------------------------------------------------------------

    def claim(
        self, route: str, owner: str, limit: int = 100, lease: timedelta = timedelta(minutes=10)
    ) -> Future[list[Claim]]:
        """Lease up to `limit` messages of this route that are due, oldest first."""
        now = self._clock()
        request = leases.ClaimRequest(route, f"{self._node}/{owner}", limit, now, now + lease, self.new_id())
        return self.writer.submit(lambda connection: leases.claim(connection, request))

    def settle(self, settlements: Sequence[Settlement]) -> Future[list[tuple[str, int]]]:
        """Write down what became of claims. The (queue id, position) pairs refused because the lease was lost."""
        return self.writer.submit_bulk(leases.settle, leases.SettleRequest(settlements, self._clock(), self._node))

    def give_back(self, claims: Sequence[Claim]) -> Future[None]:
        """End leases without an attempt: the recipients are due as they were."""
        return self.writer.submit(lambda connection: leases.give_back(connection, claims))

    def extend(self, claim: Claim, lease: timedelta) -> Future[bool]:
        """Let this lease run for `lease` from now. False where it is no longer ours."""
        until = self._clock() + lease
        return self.writer.submit(lambda connection: leases.extend(connection, claim, until))

    def flush(self, route: str) -> Future[int]:
        """Make all that is pending on this route due now; the number of recipients that were not."""
        now = self._clock()
        return self.writer.submit(lambda connection: edits.flush(connection, route, now))

    def next_due(self, route: str) -> Future[datetime | None]:
        """When the next recipient of this route is due, None if none is pending and free."""
        now = self._clock()
        return self.read(lambda connection: views.next_due(connection, route, now))

    def content(self, message_id: str) -> Future[StoredContent]:
        """A message's content. Raises NoSuchMessage where there is no message, or its content is gone."""
        return self.read(lambda connection: self._content(connection, [message_id])[message_id])

    def contents(self, message_ids: Sequence[str]) -> Future[dict[str, StoredContent]]:
        """The contents of several messages at once; those up to one chunk are already in memory."""
        return self.read(lambda connection: self._content(connection, message_ids))

    def _content(self, connection: Connection, ids: Sequence[str]) -> dict[str, StoredContent]:
        rows = connection.execute(
            select(message.c.id, message.c.size, message.c.sha256, chunk.c.octets)
            .join_from(message, chunk, chunk.c.message_id == message.c.id, isouter=True)
            .where(message.c.id.in_(ids), (chunk.c.position == 0) | chunk.c.position.is_(None))
        ).all()
        found: dict[str, StoredContent] = {}
        for row in rows:
            if row.octets is None and row.size > 0:
                continue
            first = bytes(row.octets or b"")
            if row.size <= CHUNK_SIZE:
                found[row.id] = StoredContent(row.id, row.size, row.sha256, {0: first}.get)
            else:
                found[row.id] = StoredContent(row.id, row.size, row.sha256, self._chunk_reader(row.id))
        for message_id in ids:
            if message_id not in found:
                raise NoSuchMessage(f"{message_id}: no such message, or its content has been deleted")
        return found

    def _chunk_reader(self, message_id: str) -> Callable[[int], bytes | None]:
        def fetch(position: int) -> bytes | None:
            query = select(chunk.c.octets).where(chunk.c.message_id == message_id, chunk.c.position == position)
            octets = _read(self._read_engine, lambda connection: connection.scalar(query))
            return None if octets is None else bytes(octets)

        return fetch

    # Looking ----------------------------------------------------------------------------------------------------

    def list(
        self, wanted: Filter | None = None, limit: int | None = None, after: str | None = None
    ) -> Future[builtins.list[Message]]:
        """Messages with a recipient that matches, in order of arrival; `after` is the last id of the page before."""
        return self.read(lambda connection: views.list_messages(connection, wanted or Filter(), limit, after))

    def show(self, message_id: str) -> Future[tuple[Message, builtins.list[LedgerRow]]]:
        """One message and its story. Raises NoSuchMessage."""

        def op(connection: Connection) -> tuple[Message, builtins.list[LedgerRow]]:
            found = views.load_messages(connection, [message_id])
            if not found:
                raise NoSuchMessage(f"{message_id}: no such message")
            return found[0], views.ledger_rows(connection, message_id)

        return self.read(op)

    def count(self) -> Future[builtins.list[RouteCount]]:
        """What waits, by route and live state."""
        return self.read(views.count)

    # Edits ------------------------------------------------------------------------------------------------------

    def hold(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """Keep what matches from being delivered until it is released."""
        return self._edit(edits.HOLD, wanted, actor, reason)

    def release(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """Let what is held and matches go on, due at once."""
        return self._edit(edits.RELEASE, wanted, actor, reason)

    def retry(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """Make what is pending and matches due now."""
        return self._edit(edits.RETRY, wanted, actor, reason)

    def remove(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """End what matches without delivery. The content goes, the ledger stays."""
        return self._edit(edits.REMOVE, wanted, actor, reason)

    def _edit(self, change: edits.Change, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        request = edits.EditRequest(change, wanted, actor, reason, self._clock(), self._node)
        return self.writer.submit(lambda connection: edits.edit(connection, request))

    def expire(self, route: str, before: datetime, state: RecipientState, reason: str) -> Future[int]:
        """End (EXPIRED) or keep (HELD) what arrived before `before` and is still pending. Recipients changed."""
        request = edits.ExpireRequest(route, before, state, reason, self._clock(), self._node)
        return self.writer.submit(lambda connection: edits.expire(connection, request))

    def housekeep(self) -> Future[int]:
        """Forget what is older than the ledger's retention, a bounded piece of it. Rows forgotten."""
        before = self._clock() - self._ledger_retention

        def op(connection: Connection) -> int:
            purged = edits.purge(connection, before)
            if connection.dialect.name == "sqlite":
                # It frees one page a step, and SQLAlchemy, seeing no columns, would take but the first.
                cursor = connection.connection.cursor()
                cursor.execute("PRAGMA incremental_vacuum(2000)")
                cursor.fetchall()
                cursor.close()
            return purged

        return self.writer.submit(op)


def _read(engine: Engine, op: Callable[[Connection], T]) -> T:
    try:
        with engine.connect() as connection:
            return op(connection)
    except Exception as error:
        raise classify(error) from error


def _ping(connection: Connection) -> None:
    # Takes the write lock and a commit's fsync without leaving a trace: the row cannot exist.
    connection.execute(text("UPDATE message SET size = size WHERE id = ''"))


def _accept(connection: Connection, batch: list[_Acceptance]) -> list[tuple[str, ...]]:
    messages: list[dict[str, Any]] = []
    recipients: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for work in batch:
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


def _message_values(work: _Acceptance, message_id: str, envelope: Envelope) -> dict[str, Any]:
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


def _recipient_values(work: _Acceptance, message_id: str, route: str, position: int, path: str) -> dict[str, Any]:
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


def _accepted_row(work: _Acceptance, message_id: str, envelope: Envelope, position: int, path: str) -> dict[str, Any]:
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


def _store_content(connection: Connection, batch: list[_Acceptance]) -> None:
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
