"""A queue's database while it is open: the one writer, a few readers, checkpoints, and the lock of a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from sqlalchemy import Connection

from mxqueue import contents, leases, migrate
from mxqueue.causes import classify
from mxqueue.engine import READERS, create_private_file, database_path, lock, make_engine, write_log_again
from mxqueue.errors import QueueError, QueueUnavailable
from mxqueue.ids import Ids
from mxqueue.model import utc_now
from mxqueue.turns import Turns
from mxqueue.writer import Checkpointer, Writer

T = TypeVar("T")


class Access:
    """What every call of a queue goes through. Safe to use from any thread; see `open`."""

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
        self._ids = Ids(clock)
        self.writer = Writer(self._write_engine)
        self._turns = Turns()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="mxqueue-reader")
        self._checkpointer = Checkpointer(self.path, self.writer.latch) if self.path is not None else None

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
    ) -> Self:
        """Open the queue at this URL.

        `exclusive` is how a service opens it: an SQLite file is created where it is missing, tables are made on an
        empty database, a second service is refused, and leases that a killed one left behind are ended. Without it
        the queue must exist and be up to date.
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
                if path is not None and exclusive:
                    write_log_again(engine, path)
                for one in migrations:
                    (migrate.prepare if exclusive else migrate.check)(engine, one)
                if held_lock is not None:
                    with engine.begin() as connection:
                        leases.reclaim(connection)
            finally:
                engine.dispose()
            return cls(url, node=node, clock=clock, ledger_retention=ledger_retention, held_lock=held_lock)
        except Exception as error:
            if held_lock is not None:
                held_lock.close()
            if isinstance(error, QueueError):
                raise
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
        return self._aside(contents.read, self._read_engine, op)

    def _aside(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run this on a reader's thread."""
        try:
            return self._readers.submit(work, *arguments)
        except RuntimeError:
            closed: Future[T] = Future()
            closed.set_exception(QueueUnavailable("the queue is closed"))
            return closed
