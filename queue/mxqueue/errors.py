"""What can go wrong in the queue, as data: what happened, and what the operator can do about it.

None of these texts is for a sender. The listener answers QueueFull with 452 4.3.1 and everything else with
451 4.3.0 (RFC 3463, section 3.4).
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError


class QueueError(Exception):
    """The queue could not do what it was asked. `advice` tells the operator what to do."""

    advice = "Look at the service's log for the cause."

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        if advice is not None:
            self.advice = advice


class QueueFull(QueueError):
    """The disk, or the database's share of it, has no room for another commit."""

    advice = "Free space on the queue's file system; nothing that was accepted is affected."


class QueueUnavailable(QueueError):
    """The database does not answer, or somebody else holds its lock."""

    advice = "Check that the database runs and that storage.url is right."


class StorageFailed(QueueError):
    """The disk reported an error for a write. What it still holds of that write is not known (fsync semantics)."""

    advice = "Check the disk (dmesg, smartctl), then restart the service: it recovers to the last commit."


class AlreadyServed(QueueError):
    """Another service holds this queue."""

    advice = "Stop the other service, or give this one a storage.url of its own."


class UnsafeSQLite(QueueError):
    """This SQLite can lose commits when two connections write and checkpoint (sqlite.org/wal.html, WAL-reset)."""

    advice = "Install pysqlite3 0.6.1 or newer (pip install 'pysqlite3>=0.6.1') in the service's environment."


class NoQueue(QueueError):
    """There is no queue where the configuration points."""

    advice = "Start the service once, or run `fallback-mx db migrate`, to create it."


class SchemaTooNew(QueueError):
    """The database was written by a newer version of this program."""

    advice = "Install the newer version again, or restore the backup made before its migration."


class SchemaTooOld(QueueError):
    """The database wants a migration."""

    advice = "Run `fallback-mx db backup` if you have not, then `fallback-mx db migrate`."


class NoSuchMessage(QueueError):
    """No message has this queue id."""

    advice = "List what is there with `fallback-mx queue list`."


class Damaged(QueueError):
    """The stored content is not, or cannot be shown to be, what was accepted."""

    advice = "The message is held. Look at the disk, and at it with `fallback-mx queue cat --damaged`."


_DATABASE_DAMAGED = "Check the disk (dmesg, smartctl), then restore the database from a backup."
_FULL = ("database or disk is full", "no space left", "disk full", "could not extend file")
_IO = ("disk i/o error", "input/output error")
_DAMAGE = ("malformed", "not a database", "invalid page in block", "missing chunk number")
# PostgreSQL (appendix A of its manual): disk_full; read_only_sql_transaction, which a server turned standby reports.
_FULL_STATES = {"53100"}
READ_ONLY_STATES = {"25006"}
# serialization_failure and deadlock_detected: the transaction was rolled back for another's sake.
_PASSING_STATES = {"40001", "40P01"}


def sql_state(error: BaseException) -> str | None:
    """PostgreSQL's code for what happened, None where there is none."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def may_be_repeated(error: DBAPIError) -> bool:
    """Whether a transaction that failed so *before its commit* may well succeed at once, on a new connection."""
    return error.connection_invalidated or sql_state(error) in _PASSING_STATES


def classify(error: BaseException) -> QueueError:
    """The queue's own error for whatever SQLAlchemy or a driver raised."""
    if isinstance(error, QueueError):
        return error
    text = str(getattr(error, "orig", None) or error).strip()
    line = text.splitlines()[0] if text else type(error).__name__
    lowered = text.lower()
    state = sql_state(error)
    if state in _FULL_STATES or any(phrase in lowered for phrase in _FULL):
        return QueueFull(line)
    if any(phrase in lowered for phrase in _IO):
        return StorageFailed(line)
    if any(phrase in lowered for phrase in _DAMAGE):
        return Damaged(line, _DATABASE_DAMAGED)
    if isinstance(error, OperationalError | InterfaceError) or state in READ_ONLY_STATES:
        return QueueUnavailable(line)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return QueueUnavailable(line)
    return QueueError(f"{type(error).__name__}: {line}")
