"""The book of maintenance: an operator's commands write into it, every service on the database reads it.

Each call returns a `concurrent.futures.Future`; a write's resolves after its commit, and a write is all or nothing.
Rows are added and never changed: what was announced, when and by whom, can be told after it was cancelled. Errors are
the queue's (`mxqueue.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, RowMapping, func, insert, select

from fallback_mx.maintenance import schema
from fallback_mx.maintenance.announcement import Announcement, Cancellation, Entry, Times
from fallback_mx.sla.windows import MaintenanceKind

T = TypeVar("T")
_MICROSECOND = timedelta(microseconds=1)


class Run(Protocol):
    """How the queue runs something on a connection: `queue.writer.submit` and `queue.read`."""

    def __call__(self, op: Callable[[Connection], T], /) -> Future[T]: ...


class MaintenanceBook:
    def __init__(self, submit: Run, read: Run) -> None:
        self._submit = submit
        self._read = read

    def record(
        self, announcements: Sequence[Announcement], cancellations: Sequence[tuple[int, Cancellation]] = ()
    ) -> Future[list[int]]:
        """Put these on record; the numbers of the announcements. A cancellation is of the entry with that number."""

        def op(connection: Connection) -> list[int]:
            for number, one in cancellations:
                connection.execute(insert(schema.cancellation).values(_of_cancellation(number, one)))
            return [_add(connection, one) for one in announcements]

        return self._submit(op)

    def entries(self) -> Future[tuple[Entry, ...]]:
        """All there ever was, in the order in which it was put on record."""
        return self._read(_entries)

    def size(self) -> Future[int]:
        """How many rows there are: as none goes away, whoever has seen as many need not read them again."""

        def op(connection: Connection) -> int:
            tables = (schema.announcement, schema.cancellation)
            return sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables)

        return self._read(op)


def _add(connection: Connection, one: Announcement) -> int:
    times = one.times
    values = {
        "primary": one.primary,
        "kind": one.kind.value,
        "start": times.start,
        "time_zone": times.time_zone,
        "days": times.days,
        "length_micros": times.length // _MICROSECOND,
        "rule": times.rule,
        "extra": _text(times.extra),
        "without": _text(times.without),
        "announced_at": one.announced_at,
        "reason": one.reason,
        "author": one.author,
        "recorded_at": one.recorded_at,
        "uid": one.uid,
        "sequence": one.sequence,
    }
    (number,) = connection.execute(insert(schema.announcement).returning(schema.announcement.c.id).values(values)).one()
    return int(number)


def _of_cancellation(number: int, one: Cancellation) -> dict[str, Any]:
    return {
        "maintenance_id": number,
        "since": one.since,
        "start": one.start,
        "reason": one.reason,
        "author": one.author,
        "recorded_at": one.recorded_at,
    }


def _entries(connection: Connection) -> tuple[Entry, ...]:
    cancelled: dict[int, list[Cancellation]] = {}
    cancellations = select(schema.cancellation).order_by(schema.cancellation.c.id)
    # First of all the announcements: of one that comes in between nothing is cancelled yet.
    announced = list(connection.execute(select(schema.announcement).order_by(schema.announcement.c.id)).mappings())
    for row in connection.execute(cancellations).mappings():
        one = Cancellation(row["since"], row["start"], row["reason"], row["author"], row["recorded_at"])
        cancelled.setdefault(row["maintenance_id"], []).append(one)
    return tuple(Entry(row["id"], _announcement(row), tuple(cancelled.get(row["id"], ()))) for row in announced)


def _announcement(row: RowMapping) -> Announcement:
    times = Times(
        row["start"],
        row["time_zone"],
        row["days"],
        row["length_micros"] * _MICROSECOND,
        row["rule"],
        _times(row["extra"]),
        _times(row["without"]),
    )
    return Announcement(
        row["primary"],
        MaintenanceKind(row["kind"]),
        times,
        row["announced_at"],
        row["reason"],
        row["author"],
        row["recorded_at"],
        row["uid"],
        row["sequence"],
    )


def _text(moments: Sequence[datetime]) -> str:
    return " ".join(moment.astimezone(UTC).isoformat() for moment in moments)


def _times(text: str) -> tuple[datetime, ...]:
    return tuple(map(datetime.fromisoformat, text.split()))
