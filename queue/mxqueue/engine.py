"""Engines for the two databases: which driver, which settings, and which of them are refused.

SQLite runs in WAL mode with `synchronous=FULL`: anything less loses commits in a power cut. Versions that the
WAL-reset bug affects (sqlite.org/wal.html) are refused; where the standard library's is one of them the
`pysqlite3` wheel stands in. PostgreSQL is left as its administrator set it, but for `synchronous_commit`.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from mxqueue import driver
from mxqueue.causes import READ_ONLY_STATES
from mxqueue.errors import AlreadyServed, NoQueue, QueueError, QueueUnavailable
from mxqueue.permission import demand
from mxqueue.sqlite import BUSY_TIMEOUT_SECONDS, sqlite_module

READERS = 4
_PIECE_OCTETS = 1024 * 1024

# A server that vanishes without a word (power, partition) is given up after half a minute: libpq, "Connection
# Parameter Key Words".
_POSTGRESQL_CONNECT = {
    "connect_timeout": BUSY_TIMEOUT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


def parse_url(url: str) -> URL:
    """The URL as SQLAlchemy reads it. Raises QueueError for one that names no database we support."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise QueueError(str(error), "Write sqlite:////path/queue.db or postgresql+psycopg://…") from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise QueueError(
                "an SQLite queue wants a file", "Write sqlite:////var/lib/fallback-mx/queue.db, four slashes."
            )
        return parsed
    if parsed.drivername != "postgresql+psycopg":
        raise QueueError(
            f"{parsed.drivername} is not supported",
            "Write sqlite:////path/queue.db or postgresql+psycopg://user@host/database.",
        )
    return parsed


def database_path(url: str) -> Path | None:
    """The SQLite file of this URL, None for a database server."""
    parsed = parse_url(url)
    return Path(parsed.database) if parsed.drivername == "sqlite" and parsed.database else None


def create_private_file(path: Path) -> None:
    """Make a file that its owner alone can read; SQLite gives the WAL of its database the same mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if isinstance(error, PermissionError):
            demand(path)
        raise QueueUnavailable(
            f"{path}: {error.strerror}", f"Make {path.parent} a directory that the service's user can write."
        ) from None
    os.close(descriptor)


def lock(path: Path) -> IO[bytes]:
    """Hold the queue for one service, as long as the returned file stays open. Raises AlreadyServed."""
    lock_path = path.with_name(path.name + ".lock")
    create_private_file(lock_path)
    handle = lock_path.open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise AlreadyServed(f"{path} is in use by another service") from None
    return handle


def is_served(url: str) -> bool | None:
    """Whether a service holds this queue now; None where that cannot be told (PostgreSQL, no permission)."""
    path = database_path(url)
    if path is None:
        return None
    try:
        with path.with_name(path.name + ".lock").open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False


def make_engine(url: str, *, writes: bool) -> Engine:
    """An engine for the writer (one connection) or for the readers (a small pool, read-only on SQLite)."""
    parsed = parse_url(url)
    size = 1 if writes else READERS
    if parsed.drivername != "sqlite":
        engine = create_engine(
            parsed, pool_size=size, max_overflow=0, pool_pre_ping=not writes, connect_args=_POSTGRESQL_CONNECT
        )
        _configure_postgresql(engine)
        return engine
    assert parsed.database is not None
    demand(Path(parsed.database))
    if not Path(parsed.database).exists():
        raise NoQueue(f"{parsed.database} does not exist")
    engine = create_engine(
        parsed,
        module=sqlite_module(),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    _configure_sqlite(engine, writes=writes)
    return engine


def write_log_again(engine: Engine, path: Path) -> None:
    """Write the octets of SQLite's log to the disk once more, as they are.

    A service that was killed after a sync had failed leaves a log that the kernel takes for written where it is not.
    What is committed from now on comes behind that, and would be lost with it when the power is cut. Nobody else
    writes meanwhile: the transaction has the lock for it. Raises OSError where the disk still fails.
    """
    log = path.with_name(path.name + "-wal")
    with engine.begin():
        if not log.exists():
            return
        descriptor = os.open(log, os.O_RDWR)
        try:
            offset = 0
            while piece := os.pread(descriptor, _PIECE_OCTETS, offset):
                offset += os.pwrite(descriptor, piece, offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _configure_sqlite(engine: Engine, *, writes: bool) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        # Transactions begin when we say so: the driver's own guess begins none for SELECT.
        connection.isolation_level = None
        cursor = connection.cursor()
        if writes:
            # Both must precede the first table and are without effect on a database that has one. Most mail is
            # larger than SQLite's own page of 4096: with this one a commit writes fewer of them.
            cursor.execute("PRAGMA page_size=8192")
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
            # Checkpoints have a thread of their own, off the path of a commit.
            cursor.execute("PRAGMA wal_autocheckpoint=0")
            cursor.execute("PRAGMA journal_size_limit=67108864")
        else:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        driver.execute(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")


def _configure_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        # Every other value waits for our own disk at least; the administrator's choice among them stands.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.commit()

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> None:
        # A primary turned standby goes on answering: only a new connection finds the new primary.
        if getattr(context.original_exception, "sqlstate", None) in READ_ONLY_STATES:
            context.is_disconnect = True
