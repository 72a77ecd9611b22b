"""The book of settlements: annotations, reports of downtime, claims and frozen months, in the queue's database.

Each call returns a `concurrent.futures.Future`; a write's resolves after its commit. Rows are added and never changed,
and ids are made by whoever has the value, so that writing one twice is refused by the database rather than counted
twice. Errors are the queue's (`mxqueue.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, insert, select

from fallback_mx.settlement import schema
from fallback_mx.settlement.entries import ClaimEntry, Decision, FrozenMonth, ReportEntry
from fallback_mx.sla.claims import Claim
from fallback_mx.sla.exclusions import Annotation, Category
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.reports import Report

T = TypeVar("T")


class Run(Protocol):
    """How the queue runs something on a connection: `queue.writer.submit` and `queue.read`."""

    def __call__(self, op: Callable[[Connection], T], /) -> Future[T]: ...


class SettlementBook:
    def __init__(self, submit: Run, read: Run) -> None:
        self._submit = submit
        self._read = read

    # Annotations ------------------------------------------------------------------------------------------------

    def annotate(self, one: Annotation) -> Future[None]:
        return self._add(schema.annotation, _with_interval(one.interval, asdict(one)))

    def annotations(self, primary: str | None = None) -> Future[tuple[Annotation, ...]]:
        """Of one primary or of all, withdrawn ones and withdrawals among them, in the order in which they were made."""
        conditions = _of_primary(schema.annotation, primary)
        return self._read(lambda connection: tuple(map(_annotation, _rows(connection, schema.annotation, *conditions))))

    # Reports of downtime ----------------------------------------------------------------------------------------

    def report(self, entry: ReportEntry) -> Future[None]:
        values = _with_interval(entry.report.interval, asdict(entry.report))
        return self._add(
            schema.downtime_report, values | {"id": entry.id, "author": entry.author, "recorded_at": entry.recorded_at}
        )

    def reports(self, primary: str | None = None) -> Future[tuple[ReportEntry, ...]]:
        conditions = _of_primary(schema.downtime_report, primary)
        return self._read(
            lambda connection: tuple(map(_report, _rows(connection, schema.downtime_report, *conditions)))
        )

    # Claims -----------------------------------------------------------------------------------------------------

    def claim(self, entry: ClaimEntry) -> Future[None]:
        values = _with_interval(entry.claim.interval, asdict(entry.claim))
        return self._add(
            schema.claim,
            values | {"id": entry.id, "month": entry.month, "author": entry.author, "recorded_at": entry.recorded_at},
        )

    def decide(self, decision: Decision) -> Future[None]:
        return self._add(schema.claim_decision, asdict(decision))

    def claims(self, primary: str | None = None) -> Future[tuple[ClaimEntry, ...]]:
        """Of one primary or of all, each with what was decided."""

        def op(connection: Connection) -> tuple[ClaimEntry, ...]:
            decisions: dict[str, list[Decision]] = {}
            for row in _rows(connection, schema.claim_decision):
                decisions.setdefault(row["claim"], []).append(Decision(**row))
            rows = _rows(connection, schema.claim, *_of_primary(schema.claim, primary))
            return tuple(_claim(row, tuple(decisions.get(row["id"], ()))) for row in rows)

        return self._read(op)

    # Frozen months ----------------------------------------------------------------------------------------------

    def freeze(self, month: FrozenMonth) -> Future[None]:
        return self._add(schema.frozen_month, asdict(month))

    def frozen(self, month: str) -> Future[Mapping[str, tuple[FrozenMonth, ...]]]:
        """By primary, what a month was frozen as, the last one last: a month frozen again was corrected."""

        def op(connection: Connection) -> dict[str, tuple[FrozenMonth, ...]]:
            found: dict[str, tuple[FrozenMonth, ...]] = {}
            for row in _rows(connection, schema.frozen_month, schema.frozen_month.c.month == month):
                one = FrozenMonth(**row)
                found[one.primary] = (*found.get(one.primary, ()), one)
            return found

        return self._read(op)

    def _add(self, table: Table, values: Mapping[str, Any]) -> Future[None]:
        def op(connection: Connection) -> None:
            connection.execute(insert(table).values(values))

        return self._submit(op)


def _of_primary(table: Table, primary: str | None) -> list[ColumnElement[bool]]:
    return [] if primary is None else [table.c.primary == primary]


def _rows(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> list[RowMapping]:
    return list(connection.execute(select(table).where(*conditions).order_by(table.c.id)).mappings())


def _with_interval(interval: Interval, values: dict[str, Any]) -> dict[str, Any]:
    values.pop("interval")
    return values | {"started_at": interval.start, "ended_at": interval.end}


def _interval(row: RowMapping) -> Interval:
    return Interval(row["started_at"], row["ended_at"])


def _annotation(row: RowMapping) -> Annotation:
    return Annotation(
        row["id"],
        row["primary"],
        _interval(row),
        Category(row["category"]),
        row["reason"],
        row["author"],
        row["at"],
        row["withdraws"],
    )


def _report(row: RowMapping) -> ReportEntry:
    report = Report(row["primary"], _interval(row), row["contact"], row["at"])
    return ReportEntry(row["id"], report, row["author"], row["recorded_at"])


def _claim(row: RowMapping, decisions: tuple[Decision, ...]) -> ClaimEntry:
    claim = Claim(row["primary"], _interval(row), row["account"], row["contact"], row["at"], row["in_arrears"])
    return ClaimEntry(row["id"], row["month"], claim, row["author"], row["recorded_at"], decisions)
