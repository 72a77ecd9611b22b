"""From what SQLAlchemy or a driver raised to the queue's own error: whose fault it is, and whether it passes."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from mxqueue.errors import QueueError, QueueFull, QueueUnavailable
from mxqueue.phrases import first_line, told_by

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
    line = first_line(text) or type(error).__name__
    state = sql_state(error)
    if state in _FULL_STATES:
        return QueueFull(line)
    if (told := told_by(text)) is not None:
        return told
    if isinstance(error, OperationalError | InterfaceError) or state in READ_ONLY_STATES:
        return QueueUnavailable(line)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return QueueUnavailable(line)
    return QueueError(f"{type(error).__name__}: {line}")
