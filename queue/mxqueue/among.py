"""`among(column, ids)`: `column IN (…)` for a list of any length, as one bound value.

A list bound value by value ends at the driver's limit (SQLite's is 32,766 where it was built with the defaults,
PostgreSQL's 65,535) and makes a new statement of every length, which no statement cache can use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, BindParameter, ColumnElement, Dialect, String, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


class _Texts(TypeDecorator[list[str]]):
    """A list of texts in one value: an array for PostgreSQL, JSON for SQLite."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(String()) if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else json.dumps(value)


class _Values(FunctionElement[str]):
    """The list as a column of rows; its one clause is the bound value."""

    type = String()
    inherit_cache = True


@compiles(_Values, "sqlite")
def _for_sqlite(element: _Values, compiler: Any, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"  # noqa: S608  # the bound value's marker


@compiles(_Values, "postgresql")
def _for_postgresql(element: _Values, compiler: Any, **options: Any) -> str:
    return f"(SELECT unnest({compiler.process(element.clauses, **options)}))"


def among(column: ColumnElement[str], values: Iterable[str]) -> ColumnElement[bool]:
    """Whether the column's value is one of these."""
    return _is_in(column, bindparam(None, list(values), type_=_Texts(), unique=True))


def among_bound(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """The same with the list left open: `prepared.texts` makes the value that is bound by this name."""
    return _is_in(column, bindparam(name, type_=_Texts()))


def _is_in(column: ColumnElement[str], bound: BindParameter[list[str]]) -> ColumnElement[bool]:
    return column.op("IN", is_comparison=True)(_Values(bound))
