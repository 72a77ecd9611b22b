"""Which SQLite is used: one that loses nothing (sqlite.org/wal.html, "The WAL-reset bug").

No database library is needed to know.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from mxqueue.errors import UnsafeSQLite

BUSY_TIMEOUT_SECONDS = 5


def is_affected(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite version has the WAL-reset bug: 3.7.0 to 3.51.2, but for the two that got the fix."""
    return (3, 7, 0) <= version <= (3, 51, 2) and version not in {(3, 44, 6), (3, 50, 7)}


def sqlite_module() -> Any:
    """A DB-API module with a sound SQLite. Raises UnsafeSQLite where there is none."""
    if not is_affected(sqlite3.sqlite_version_info):
        return sqlite3
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        raise UnsafeSQLite(f"SQLite {sqlite3.sqlite_version} can lose commits") from None
    if is_affected(dbapi2.sqlite_version_info):
        raise UnsafeSQLite(f"SQLite {dbapi2.sqlite_version} (pysqlite3) can lose commits")
    return dbapi2
