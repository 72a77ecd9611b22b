"""SQLite's driver without SQLAlchemy in between, for what a busy queue does with every transaction.

SQLAlchemy's way to run one statement costs several times what SQLite does for it. What the driver raises comes out as
SQLAlchemy would have it, so that nobody above has to tell the two ways apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def execute(connection: Connection, sql: str) -> None:
    """Run a statement that has no values and no rows; no transaction is begun for it."""
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.execute(sql)
    except driver.Error as error:
        raise _as_elsewhere(error, sql, driver) from error


def execute_many(connection: Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Run a statement once for each of these rows, in the transaction under way or in a new one."""
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.executemany(sql, rows)
    except driver.Error as error:
        raise _as_elsewhere(error, sql, driver) from error


def _as_elsewhere(error: Exception, sql: str, driver: Any) -> BaseException:
    return DBAPIError.instance(sql, None, error, driver.Error)
