"""The book of orders on a real SQLite and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from fallback_mx.orders.book import OrderBook
from fallback_mx.orders.schema import MIGRATIONS, metadata
from fallback_mx.rules.orders import NO_ORDERS, Order, Standing, What
from mxqueue import Queue
from mxqueue.migrate import QUEUE

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/queue.db" if sqlite else request.getfixturevalue("postgres_url")
    opened = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
    yield opened
    opened.close()


@pytest.fixture
def book(queue: Queue) -> OrderBook:
    return OrderBook(queue.writer.submit, queue.read)


def order(what: What, primary: str = "main", until: datetime | None = None) -> Order:
    return Order(primary, what, NOW, until, "root", "because")


def test_the_migrations_make_the_tables_of_the_schema(queue: Queue) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, parents: kind != "table" or name in metadata.tables}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    assert queue.read(differences).result() == []


def test_an_order_stands_as_it_was_given_and_says_what_stood_before(book: OrderBook) -> None:
    pause = order(What.PAUSE, until=NOW + HOUR)
    down = order(What.FORCE_DOWN, until=NOW + 2 * HOUR)
    assert book.give(pause).result() == NO_ORDERS
    assert book.give(down).result() == Standing(pause)
    assert book.standing(NOW).result() == {"main": Standing(pause, down)}
    assert book.standing(NOW + HOUR).result() == {"main": Standing(None, down)}


def test_a_resume_takes_back_the_orders_of_its_primary_alone(book: OrderBook) -> None:
    other = order(What.PAUSE, "other")
    for each in (order(What.PAUSE), order(What.FORCE_UP, until=NOW + HOUR), other, order(What.RESUME)):
        book.give(each).result()
    assert book.standing(NOW).result() == {"main": NO_ORDERS, "other": Standing(other)}


def test_each_order_has_a_larger_number(book: OrderBook) -> None:
    numbers = [book.number().result()]
    for what in What:
        book.give(order(what)).result()
        numbers.append(book.number().result())
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0


def test_no_order_is_ever_changed_or_taken_out(book: OrderBook, queue: Queue) -> None:
    for what in (What.PAUSE, What.RESUME, What.PAUSE, What.RESUME):
        book.give(order(what)).result()
    statement = 'SELECT what, "until", actor, reason FROM primary_order ORDER BY id'
    rows = queue.read(lambda connection: connection.exec_driver_sql(statement).all()).result()
    assert [tuple(row) for row in rows] == [(what, None, "root", "because") for what in ("pause", "resume") * 2]
