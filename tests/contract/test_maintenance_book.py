"""The book of maintenance on a real SQLite and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from fallback_mx.maintenance.announcement import Announcement, Cancellation, Entry, Times
from fallback_mx.maintenance.book import MaintenanceBook
from fallback_mx.maintenance.schema import MIGRATIONS, metadata
from fallback_mx.sla.windows import MaintenanceKind
from mxqueue import Queue
from mxqueue.errors import QueueError
from mxqueue.migrate import QUEUE

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONCE = Announcement(
    *("main", MaintenanceKind.EMERGENCY, Times(NOW, "UTC", 0, HOUR), None, "čtvrtek", "root", NOW, "1@mx2")
)
WEEKLY = Announcement(
    "",
    MaintenanceKind.SCHEDULED,
    Times(
        *(NOW, "Europe/Prague", 1, timedelta(microseconds=1), "FREQ=WEEKLY"),
        extra=(NOW + HOUR, NOW + 2 * HOUR),
        without=(NOW + timedelta(7),),
    ),
    NOW - HOUR,
    "",
    "carol",
    NOW,
    "2@mx2",
    3,
)
CANCELLED = Cancellation(NOW + HOUR, None, "done", "root", NOW + HOUR)


@pytest.fixture(params=["sqlite", "postgresql"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/queue.db" if sqlite else request.getfixturevalue("postgres_url")
    opened = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
    yield opened
    opened.close()


@pytest.fixture
def book(queue: Queue) -> MaintenanceBook:
    return MaintenanceBook(queue.writer.submit, queue.read)


def test_the_migrations_make_the_tables_of_the_schema(queue: Queue) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, parents: kind != "table" or name in metadata.tables}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    assert queue.read(differences).result() == []


def test_what_was_announced_is_read_as_it_was_written(book: MaintenanceBook) -> None:
    numbers = book.record([ONCE, WEEKLY]).result()
    assert book.entries().result() == (Entry(numbers[0], ONCE), Entry(numbers[1], WEEKLY))


def test_a_cancellation_belongs_to_its_announcement_and_both_stay(book: MaintenanceBook) -> None:
    first, second = book.record([ONCE, WEEKLY]).result()
    one = Cancellation(NOW, NOW + timedelta(7), "not this time", "carol", NOW)
    book.record([], [(second, one), (second, CANCELLED)]).result()
    assert book.entries().result() == (Entry(first, ONCE), Entry(second, WEEKLY, (one, CANCELLED)))


def test_the_size_grows_with_every_row(book: MaintenanceBook) -> None:
    sizes = [book.size().result()]
    (number,) = book.record([ONCE]).result()
    sizes.append(book.size().result())
    book.record([WEEKLY], [(number, CANCELLED)]).result()
    sizes.append(book.size().result())
    assert sizes == [0, 1, 3]


def test_a_write_is_all_or_nothing(book: MaintenanceBook) -> None:
    with pytest.raises(QueueError):
        book.record([ONCE], [(4711, CANCELLED)]).result()
    assert book.entries().result() == ()
