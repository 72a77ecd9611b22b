"""Statements of the busy paths: compiled once a dialect, and given values as the driver takes them.

What SQLAlchemy does for each run (a key for its cache, names to positions, a processor for each value) costs several
times what the database does with a few rows by their key. The text is SQLAlchemy's all the same, for either database.
Values are put in the order of `names`; times are microseconds (`to_micros`), what `among` takes comes from `texts`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, CursorResult, Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import iterate

from mxqueue import driver

Values = tuple[object, ...]


class Prepared:
    """A statement whose every value is bound by one of `names`, each of them once."""

    def __init__(self, statement: Executable, *names: str) -> None:
        # A constant that SQLAlchemy would bind by itself (`column == 0`) has no place in a row: it is to be a literal.
        bound = [each.key for each in iterate(statement) if isinstance(each, BindParameter)]  # type: ignore[arg-type]
        assert sorted(bound) == sorted(names), f"bound are {bound}, named {names}"
        self._names = names
        self._statement = statement
        self._compiled: dict[str, tuple[str, bool]] = {}

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Once for each of these rows. With none of them nothing happens."""
        if not rows:
            return
        sql, is_positional = self._sql(connection.dialect)
        if is_positional:
            driver.execute_many(connection, sql, rows)
        else:
            connection.exec_driver_sql(sql, [self._named(row) for row in rows])

    def one(self, connection: Connection, *values: object) -> CursorResult[*tuple[Any, ...]]:
        """Once, with these values. Rows of the result have what the driver makes of it."""
        sql, is_positional = self._sql(connection.dialect)
        return connection.exec_driver_sql(sql, values if is_positional else self._named(values))

    def _named(self, row: Values) -> dict[str, object]:
        return dict(zip(self._names, row, strict=True))

    def text(self, dialect: Dialect) -> str:
        """As the driver takes it."""
        return self._sql(dialect)[0]

    def _sql(self, dialect: Dialect) -> tuple[str, bool]:
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
            assert isinstance(compiled, SQLCompiler)
            order = compiled.positiontup
            assert tuple(order if order is not None else self._names) == self._names, f"{order} is not {self._names}"
            found = self._compiled[dialect.name] = (str(compiled), order is not None)
        return found


def texts(connection: Connection, values: Iterable[str]) -> object:
    """A list as one value, for `among_bound`."""
    return list(values) if connection.dialect.name == "postgresql" else json.dumps(list(values))
