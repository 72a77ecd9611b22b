"""The samples of how full the queue was, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from fallback_mx.published.sampler import Sampler
from fallback_mx.published.samples import KEPT, SLOT, Sample, SampleBook, slot_of
from fallback_mx.published.schema import MIGRATIONS, metadata
from mxqueue import Queue, QueueError, QueueUnavailable, RecipientState, RouteCount
from mxqueue.migrate import QUEUE
from tests.fakes.clock import Clock


@pytest.fixture(params=["sqlite", "postgresql"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/queue.db" if sqlite else request.getfixturevalue("postgres_url")
    opened = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
    yield opened
    opened.close()


@pytest.fixture
def book(queue: Queue) -> SampleBook:
    return SampleBook(queue.writer.submit, queue.read)


def test_the_migrations_make_the_tables_that_the_program_uses(queue: Queue) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables}
        )
        return list(compare_metadata(context, metadata))

    assert queue.read(differences).result() == []


def test_what_was_written_is_read_from_its_slot_on(book: SampleBook, clock: Clock) -> None:
    at = slot_of(clock())
    book.write(at, {"main": Sample(3, 60), "other": Sample()}).result()
    book.write(at + SLOT, {"main": Sample(4, 360)}).result()
    assert book.since(at).result() == {
        "main": {at: Sample(3, 60), at + SLOT: Sample(4, 360)},
        "other": {at: Sample()},
    }
    assert book.since(at + SLOT).result() == {"main": {at + SLOT: Sample(4, 360)}}


def test_of_two_nodes_in_one_slot_the_most_that_either_saw_stands(book: SampleBook, clock: Clock) -> None:
    at = slot_of(clock())
    book.write(at, {"main": Sample(3, 900)}).result()
    book.write(at, {"main": Sample(5, 60)}).result()
    book.write(at, {"main": Sample(1, 1)}).result()
    assert book.since(at).result() == {"main": {at: Sample(5, 900)}}


def test_after_a_day_a_sample_goes(book: SampleBook, clock: Clock) -> None:
    at = slot_of(clock())
    book.write(at, {"main": Sample(1, 1)}).result()
    book.write(at + KEPT, {"main": Sample(2, 2)}).result()
    assert list(book.since(at).result()["main"]) == [at, at + KEPT]
    book.write(at + KEPT + 2 * SLOT, {"main": Sample(3, 3)}).result()
    assert list(book.since(at).result()["main"]) == [at + KEPT, at + KEPT + 2 * SLOT]


class Counts:
    """A queue that says how much waits, or raises."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.messages = 0
        self.trouble: QueueError | None = None

    def __call__(self) -> Future[list[RouteCount]]:
        future: Future[list[RouteCount]] = Future()
        if self.trouble is not None:
            future.set_exception(self.trouble)
        elif self.messages:
            oldest = self.clock() - timedelta(minutes=self.messages)
            future.set_result([RouteCount("main", RecipientState.PENDING, self.messages, self.messages, oldest)])
        else:
            future.set_result([])
        return future


def test_the_most_of_a_slot_is_written_when_the_next_begins(book: SampleBook, clock: Clock) -> None:
    counts, at = Counts(clock), slot_of(clock())
    clock.now = at
    sampler = Sampler(counts, book, lambda: ["main"], lambda error: None, clock)

    async def looks() -> None:
        for messages in (1, 9, 4):
            counts.messages = messages
            await sampler.look()
            clock.advance(minutes=1)
        assert book.since(at).result() == {}
        assert sampler.latest == {"main": Sample(4, 240)}
        clock.now = at + SLOT
        await sampler.look()

    asyncio.run(looks())
    assert book.since(at).result() == {"main": {at: Sample(9, 540)}}


def test_at_a_stop_the_slot_in_hand_is_written(book: SampleBook, clock: Clock) -> None:
    counts = Counts(clock)
    counts.messages = 2
    sampler = Sampler(counts, book, lambda: ["main"], lambda error: None, clock)

    async def one_look() -> None:
        await sampler.look()
        await sampler.flush()
        await sampler.flush()

    asyncio.run(one_look())
    assert book.since(slot_of(clock())).result() == {"main": {slot_of(clock()): Sample(2, 120)}}


def test_a_look_that_fails_is_no_sample_and_is_told_once(book: SampleBook, clock: Clock) -> None:
    counts, told = Counts(clock), []
    counts.trouble = QueueUnavailable("gone")
    sampler = Sampler(counts, book, lambda: ["main"], told.append, clock, look_seconds=0)

    async def for_a_while() -> None:
        running = asyncio.create_task(sampler.run())
        for _ in range(20):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        await sampler.flush()

    asyncio.run(for_a_while())
    assert [str(error) for error in told] == ["gone"]
    assert book.since(slot_of(clock())).result() == {}
