"""The durable record of outages, of what was slow, and of the time that was watched, in the queue's database.

Every call returns a `concurrent.futures.Future`. A write's future resolves after its commit, and a write is all or
nothing: a bad observation never counts as watched while its outage is not on record. Writing the same values again
changes nothing, so a write whose fate is not known can be made again. Errors are the queue's (`mxqueue.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    insert,
    or_,
    select,
    type_coerce,
    update,
)

from fallback_mx.outages import schema, spans
from fallback_mx.outages.gaps import Cause, Gap, Unknown, unknown
from fallback_mx.outages.spans import Kind, Span, Watch
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.uptime import Uptime, figures
from mxqueue.schema import from_micros

T = TypeVar("T")


class Run(Protocol):
    """How the queue runs something on a connection: `queue.writer.submit` and `queue.read`."""

    def __call__(self, op: Callable[[Connection], T], /) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class Latest:
    """Where one node's record of a primary stands: the outage that is open and the last time watched, if any; `beside`
    are the other spans that are open."""

    span: Span | None
    watch: Watch | None
    beside: tuple[Span, ...] = ()


class OutageLog:
    """The record, as `node` keeps it. Reading gives every node's part unless it says otherwise."""

    def __init__(self, submit: Run, read: Run, node: str) -> None:
        self._submit = submit
        self._read = read
        self.node = node

    def write(self, changed: Sequence[Span], watches: Sequence[Watch], gaps: Sequence[Gap] = ()) -> Future[None]:
        """Put these values in place of what is on record under their ids, in the order given."""

        def op(connection: Connection) -> None:
            for span in changed:
                _put(connection, schema.outage, asdict(span))
            for watch in watches:
                _put(connection, schema.watch, asdict(watch))
            for gap in gaps:
                _put(connection, schema.gap, asdict(gap))

        return self._submit(op)

    def latest(self, primary: str, now: datetime) -> Future[Latest]:
        """Where this node's record of the primary stands. A watch that claims to begin after `now` is passed over."""
        return self._read(lambda connection: _latest(connection, primary, self.node, now))

    def list_spans(
        self,
        primary: str | None = None,
        since: datetime | None = None,
        *,
        blips: bool = False,
        kinds: Collection[Kind] = (Kind.OUTAGE,),
    ) -> Future[list[Span]]:
        """Spans of one primary or of all, outages unless other kinds are named, oldest first: those not over by
        `since`, blips only when asked for."""
        conditions: list[ColumnElement[bool]] = [schema.outage.c.kind.in_(kinds)]
        if primary is not None:
            conditions.append(schema.outage.c.primary == primary)
        if since is not None:
            conditions.append(or_(schema.outage.c.ended_at.is_(None), schema.outage.c.ended_at > since))
        if not blips:
            conditions.append(or_(schema.outage.c.ended_at.is_(None), schema.outage.c.confirmed_at.is_not(None)))
        return self._read(lambda connection: _spans(connection, *conditions))

    def find(self, beginning: str, limit: int = 2) -> Future[list[Span]]:
        """The spans of any kind whose id begins so, in its order."""
        return self._read(
            lambda connection: _spans(connection, schema.outage.c.id.startswith(beginning, autoescape=True))[:limit]
        )

    def unknown(self, primary: str, period: Interval) -> Future[tuple[Unknown, ...]]:
        """The time of `period` in which nobody watched this primary, with why."""

        def op(connection: Connection) -> tuple[Unknown, ...]:
            watched = spans.watched(_watches(connection, primary, period))
            return unknown(period, watched, _gaps(connection, primary, period))

        return self._read(op)

    def list_watches(self, primary: str, period: Interval) -> Future[list[Watch]]:
        """The times in which somebody watched, as far as they touch `period`, oldest first."""
        return self._read(lambda connection: _watches(connection, primary, period))

    def watches_of_all(self, period: Interval) -> Future[dict[str, list[Watch]]]:
        """By primary, the times in which somebody watched, as far as they touch `period`; for reports of many."""
        watch = schema.watch.c
        # Names and types for each of many thousand rows take longer than all the rest.
        start, end = (type_coerce(column, BigInteger) for column in (watch.started_at, watch.ended_at))
        query = (
            select(watch.id, watch.primary, watch.node, start, end)
            .where(watch.ended_at > period.start, watch.started_at < period.end)
            .order_by(watch.primary, watch.started_at, watch.id)
        )

        def op(connection: Connection) -> dict[str, list[Watch]]:
            found: dict[str, list[Watch]] = {}
            for key, primary, node, first, last in connection.execute(query):
                found.setdefault(primary, []).append(Watch(key, primary, node, from_micros(first), from_micros(last)))
            return found

        return self._read(op)

    def uptime(self, primary: str, period: Interval) -> Future[Uptime]:
        """How much of `period` the primary was up, was down, and was not watched, from one look at the record."""

        def op(connection: Connection) -> Uptime:
            watches = _watches(connection, primary, period)
            touching = [
                schema.outage.c.kind == Kind.OUTAGE,
                schema.outage.c.primary == primary,
                schema.outage.c.started_at < period.end,
                or_(schema.outage.c.ended_at.is_(None), schema.outage.c.ended_at > period.start),
            ]
            touching_spans = _spans(connection, *touching)
            watched = spans.decided(touching_spans, spans.watched(watches))
            return figures(period, spans.down(touching_spans, watches), watched)

        return self._read(op)


def _put(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    found = connection.execute(update(table).where(table.c.id == values["id"]).values(values))
    if found.rowcount == 0:
        connection.execute(insert(table).values(values))


def _latest(connection: Connection, primary: str, node: str, now: datetime) -> Latest:
    span = schema.outage.c
    open_spans = _spans(connection, span.primary == primary, span.node == node, span.ended_at.is_(None))
    watch = schema.watch.c
    last_watch = connection.execute(
        select(schema.watch)
        .where(watch.primary == primary, watch.node == node, watch.started_at <= now)
        .order_by(watch.ended_at.desc())
        .limit(1)
    ).mappings()
    return Latest(
        next((each for each in open_spans if each.kind is Kind.OUTAGE), None),
        next((_watch(row) for row in last_watch), None),
        tuple(each for each in open_spans if each.kind is not Kind.OUTAGE),
    )


def _spans(connection: Connection, *conditions: ColumnElement[bool]) -> list[Span]:
    query = select(schema.outage).where(*conditions).order_by(schema.outage.c.started_at, schema.outage.c.id)
    return [_span(row) for row in connection.execute(query).mappings()]


def _watches(connection: Connection, primary: str, period: Interval) -> list[Watch]:
    watch = schema.watch.c
    query = (
        select(schema.watch)
        .where(watch.primary == primary, watch.ended_at > period.start, watch.started_at < period.end)
        .order_by(watch.started_at, watch.id)
    )
    return [_watch(row) for row in connection.execute(query).mappings()]


def _gaps(connection: Connection, primary: str, period: Interval) -> list[Gap]:
    gap = schema.gap.c
    query = select(schema.gap).where(gap.primary == primary, gap.ended_at > period.start, gap.started_at < period.end)
    return [Gap(**{**row, "cause": Cause(row["cause"])}) for row in connection.execute(query).mappings()]


def _span(row: RowMapping) -> Span:
    return Span(**{**row, "kind": Kind(row["kind"])})


def _watch(row: RowMapping) -> Watch:
    return Watch(**row)
