"""How full the queue was: samples of each primary's mail, five minutes each, kept for a day.

They stand in the database and not in memory alone, since a page about an outage must know what was before the service
was restarted in it; a row for each primary every five minutes is what it costs. A time without a row is one in which no
service ran. Errors are the queue's (`mxqueue.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, case, delete, select

from fallback_mx.published.schema import queue_sample
from mxqueue.model import RecipientState, RouteCount

T = TypeVar("T")

SLOT = timedelta(minutes=5)
KEPT = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sample:
    """The most that waited for a primary in a slot, and how old the oldest of it came to be."""

    messages: int = 0
    oldest_age_seconds: int = 0

    @property
    def oldest_age(self) -> timedelta:
        return timedelta(seconds=self.oldest_age_seconds)

    def merged(self, other: Sample) -> Sample:
        return Sample(max(self.messages, other.messages), max(self.oldest_age_seconds, other.oldest_age_seconds))


Slots = Mapping[datetime, Sample]
"""By the moment at which a slot begins."""


def slot_of(moment: datetime) -> datetime:
    return moment - (moment - _EPOCH) % SLOT


def taken(counts: Iterable[RouteCount], primaries: Iterable[str], now: datetime) -> dict[str, Sample]:
    """A sample of each of these primaries: what is held is nobody's backlog."""
    pending = {count.route: count for count in counts if count.state is RecipientState.PENDING}
    return {name: _sample(pending.get(name), now) for name in primaries}


def _sample(count: RouteCount | None, now: datetime) -> Sample:
    if count is None or count.oldest_arrived_at is None:
        return Sample()
    return Sample(count.messages, max(0, int((now - count.oldest_arrived_at).total_seconds())))


class Run(Protocol):
    """How the queue runs something on a connection: `queue.writer.submit` and `queue.read`."""

    def __call__(self, op: Callable[[Connection], T], /) -> Future[T]: ...


class SampleBook:
    """Every node writes into the same rows, and the most that any of them saw stands there."""

    def __init__(self, submit: Run, read: Run) -> None:
        self._submit = submit
        self._read = read

    def write(self, at: datetime, samples: Mapping[str, Sample]) -> Future[None]:
        """Put the samples of the slot that begins at `at` on record, and let those of more than a day ago go."""

        def op(connection: Connection) -> None:
            for primary, sample in samples.items():
                _put(connection, at, primary, sample)
            connection.execute(delete(queue_sample).where(queue_sample.c.at < at - KEPT - SLOT))

        return self._submit(op)

    def since(self, moment: datetime) -> Future[dict[str, dict[datetime, Sample]]]:
        """By primary, the samples of the slots that begin at `moment` or later."""

        def op(connection: Connection) -> dict[str, dict[datetime, Sample]]:
            found: dict[str, dict[datetime, Sample]] = {}
            for row in connection.execute(select(queue_sample).where(queue_sample.c.at >= moment)):
                found.setdefault(row.primary, {})[row.at] = Sample(row.messages, row.oldest_age_seconds)
            return found

        return self._read(op)


def _put(connection: Connection, at: datetime, primary: str, sample: Sample) -> None:
    statement = _insert(connection).values(
        at=at, primary=primary, messages=sample.messages, oldest_age_seconds=sample.oldest_age_seconds
    )
    new, old = statement.excluded, queue_sample.c
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[old.at, old.primary],
            set_={
                name: case((new[name] > old[name], new[name]), else_=old[name])
                for name in ("messages", "oldest_age_seconds")
            },
        )
    )


def _insert(connection: Connection) -> Any:
    # The dialect in use is loaded; to load the other one as well would only make every start slower.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as into_postgresql

        return into_postgresql(queue_sample)
    from sqlalchemy.dialects.sqlite import insert as into_sqlite

    return into_sqlite(queue_sample)
