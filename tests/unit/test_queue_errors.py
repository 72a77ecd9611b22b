"""What a database or a disk says, as one of the queue's own errors, with what to do about it."""

from __future__ import annotations

import errno
import os

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError, InternalError, OperationalError

import mxqueue
from mxqueue import Damaged, QueueError, QueueFull, QueueUnavailable, StorageFailed
from mxqueue.causes import classify, may_be_repeated


def raised(kind: type[DatabaseError], original: BaseException, *, lost: bool = False) -> DatabaseError:
    return kind("INSERT", {}, original, connection_invalidated=lost)


CAUSES = {
    "a full disk": (raised(OperationalError, Exception("database or disk is full")), QueueFull),
    "a full disk under the spool": (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), QueueFull),
    "a full disk in another language": (
        raised(OperationalError, psycopg.errors.DiskFull("Kein Speicherplatz")),
        QueueFull,
    ),
    "a disk error": (raised(OperationalError, Exception("disk I/O error")), StorageFailed),
    "a damaged page": (raised(DatabaseError, Exception("database disk image is malformed")), Damaged),
    "a damaged page of PostgreSQL": (
        raised(InternalError, psycopg.errors.DataCorrupted("invalid page in block 7 of relation base/5/16384")),
        Damaged,
    ),
    "a lock": (raised(OperationalError, Exception("database is locked")), QueueUnavailable),
    "a server that is away": (
        raised(OperationalError, psycopg.OperationalError("connection refused")),
        QueueUnavailable,
    ),
    "a lost connection": (raised(DatabaseError, Exception("?"), lost=True), QueueUnavailable),
    "a server turned standby": (
        raised(InternalError, psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT")),
        QueueUnavailable,
    ),
    "a bad row": (raised(IntegrityError, Exception("UNIQUE constraint failed")), QueueError),
    "a mistake of ours": (KeyError("x"), QueueError),
    "nothing said": (ValueError(), QueueError),
}


@pytest.mark.parametrize("what", CAUSES)
def test_a_failure_becomes_the_queues_own_error(what: str) -> None:
    cause, expected = CAUSES[what]

    assert type(classify(cause)) is expected


def test_an_error_of_our_own_stays_what_it_is() -> None:
    ours = QueueFull("no room", "Delete something.")

    assert classify(ours) is ours


def test_only_the_first_line_is_kept() -> None:
    assert str(classify(raised(OperationalError, Exception("refused\n\tIs the server running?")))) == "refused"


def test_every_error_says_what_to_do() -> None:
    kinds = [each for each in vars(mxqueue).values() if isinstance(each, type) and issubclass(each, QueueError)]

    assert len(kinds) > 8
    assert [kind.__name__ for kind in kinds if not kind("x").advice.endswith(".")] == []
    assert QueueError("x", "Do this.").advice == "Do this."


REPEATED = {
    "deadlock": (raised(OperationalError, psycopg.errors.DeadlockDetected("deadlock detected")), True),
    "serialization": (raised(OperationalError, psycopg.errors.SerializationFailure("could not serialize")), True),
    "lost connection": (raised(OperationalError, Exception("server closed"), lost=True), True),
    "a bad row": (raised(IntegrityError, psycopg.errors.UniqueViolation("duplicate key")), False),
    "a full disk": (raised(OperationalError, psycopg.errors.DiskFull("full")), False),
    "a locked file": (raised(OperationalError, Exception("database is locked")), False),
}


@pytest.mark.parametrize("what", REPEATED)
def test_only_what_was_spoilt_from_outside_is_done_again(what: str) -> None:
    cause, expected = REPEATED[what]

    assert may_be_repeated(cause) is expected
