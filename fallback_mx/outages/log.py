"""The durable record of outages and of the time that was watched, in the queue's database.

Every call returns a `concurrent.futures.Future`. A write's future resolves after its commit, and a write is all or
nothing: a bad observation never counts as watched while its outage is not on record. Writing the same values again
changes nothing, so a write whose fate is not known can be made again. Errors are the queue's (`mxqueue.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, RowMapping, Table, insert, or_, select, update

from fallback_mx.outages import schema, spans
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.uptime import Uptime, figures

T = TypeVar("T")


class Run(Protocol):
    """How the queue runs something on a connection: `queue.writer.submit` and `queue.read`."""

    def __call__(self, op: Callable[[Connection], T], /) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class Latest:
    """Where one node's record of a primary stands: the span that is open and the last time watched, if any."""

    span: Span | None
    watch: Watch | None


class OutageLog:
    """The record, as `node` keeps it. Reading gives every node's part unless it says otherwise."""

    def __init__(self, submit: Run, read: Run, node: str) -> None:
        self._submit = submit
        self._read = read
        self.node = node

    def write(self, changed: Sequence[Span], watches: Sequence[Watch]) -> Future[None]:
        """Put these values in place of what is on record under their ids, in the order given."""

        def op(connection: Connection) -> None:
            for span in changed:
                _put(connection, schema.outage, asdict(span))
            for watch in watches:
                _put(connection, schema.watch, asdict(watch))

        return self._submit(op)

    def latest(self, primary: str, now: datetime) -> Future[Latest]:
        """Where this node's record of the primary stands. A watch that claims to begin after `now` is passed over."""
        return self._read(lambda connection: _latest(connection, primary, self.node, now))

    def list_spans(
        self, primary: str | None = None, since: datetime | None = None, *, blips: bool = False
    ) -> Future[list[Span]]:
        """Outages of one primary or of all, oldest first: those not over by `since`, blips only when asked for."""
        conditions = [] if primary is None else [schema.outage.c.primary == primary]
        if since is not None:
            conditions.append(or_(schema.outage.c.ended_at.is_(None), schema.outage.c.ended_at > since))
        if not blips:
            conditions.append(or_(schema.outage.c.ended_at.is_(None), schema.outage.c.confirmed_at.is_not(None)))
        return self._read(lambda connection: _spans(connection, *conditions))

    def list_watches(self, primary: str, period: Interval) -> Future[list[Watch]]:
        """The times in which somebody watched, as far as they touch `period`, oldest first."""
        return self._read(lambda connection: _watches(connection, primary, period))

    def uptime(self, primary: str, period: Interval) -> Future[Uptime]:
        """How much of `period` the primary was up, was down, and was not watched, from one look at the record."""

        def op(connection: Connection) -> Uptime:
            watches = _watches(connection, primary, period)
            touching = [
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
    open_span = connection.execute(
        select(schema.outage).where(span.primary == primary, span.node == node, span.ended_at.is_(None))
    ).mappings()
    watch = schema.watch.c
    last_watch = connection.execute(
        select(schema.watch)
        .where(watch.primary == primary, watch.node == node, watch.started_at <= now)
        .order_by(watch.ended_at.desc())
        .limit(1)
    ).mappings()
    return Latest(
        next((_span(row) for row in open_span), None),
        next((_watch(row) for row in last_watch), None),
    )


def _spans(connection: Connection, *conditions: Any) -> list[Span]:
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


def _span(row: RowMapping) -> Span:
    return Span(**row)


def _watch(row: RowMapping) -> Watch:
    return Watch(**row)
