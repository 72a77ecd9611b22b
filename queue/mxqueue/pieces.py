"""Changes of many messages, in pieces of bounded size, each a transaction of its own.

Whoever holds the database's lock for seconds keeps everybody else's mail out: another process that writes would run
into its busy timeout and answer 451. A change that fails half-way has happened to the pieces before; each piece, with
its ledger rows, is there wholly or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine

from mxqueue.contents import read
from mxqueue.writer import Writer

T = TypeVar("T")

MESSAGES = 1000
# Between two pieces another process must find the lock free: SQLite's waiters look again every 100 ms at the latest.
PAUSE_SECONDS = 0.02


def change(
    readers: Engine,
    writer: Writer,
    find: Callable[[Connection], list[str]],
    apply: Callable[[Connection, list[str]], T],
) -> list[T]:
    """Apply to the queue ids that `find` finds, piece by piece. `apply` checks again what it may change by then."""
    ids = read(readers, find)
    done: list[T] = []
    for start in range(0, len(ids), MESSAGES):
        if start:
            time.sleep(PAUSE_SECONDS)
        piece = ids[start : start + MESSAGES]
        done.append(writer.submit(lambda connection, piece=piece: apply(connection, piece)).result())  # type: ignore[misc]
    return done
