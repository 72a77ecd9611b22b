"""The book of settlements on a real SQLite and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from fallback_mx.settlement.book import SettlementBook
from fallback_mx.settlement.entries import ClaimEntry, Decision, FrozenMonth, ReportEntry
from fallback_mx.settlement.schema import MIGRATIONS, metadata
from fallback_mx.sla.claims import Claim
from fallback_mx.sla.exclusions import Annotation, Category, standing
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.reports import Report
from mxqueue import Queue, QueueError
from mxqueue.migrate import QUEUE

NOW = datetime(2026, 11, 24, 12, 0, 0, 1, tzinfo=UTC)
HOUR = Interval(NOW - timedelta(hours=1), NOW)
ANNOTATION = Annotation("A1", "main", HOUR, Category.FALSE_ALARM, "a cable\nof ours", "root", NOW)
REPORT = ReportEntry("R1", Report("main", HOUR, "carol", NOW), "root", NOW)
CLAIM = ClaimEntry("C1", "2026-11", Claim("main", HOUR, "4711", "carol", NOW, False), "root", NOW)
REFUSED = Decision("D1", "C1", False, "late,arrears", "too late", "root", NOW)
FROZEN = FrozenMonth("F1", "main", "2026-10", '{"a": 1}', "0" * 64, "closed", "root", NOW)


@pytest.fixture(params=["sqlite", "postgresql"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/queue.db" if sqlite else request.getfixturevalue("postgres_url")
    opened = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
    yield opened
    opened.close()


@pytest.fixture
def book(queue: Queue) -> SettlementBook:
    return SettlementBook(queue.writer.submit, queue.read)


def test_the_migrations_make_the_tables_of_the_schema(queue: Queue) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, parents: kind != "table" or name in metadata.tables}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    assert queue.read(differences).result() == []


def test_what_was_said_is_read_back_as_it_was(book: SettlementBook) -> None:
    book.annotate(ANNOTATION).result()
    book.report(REPORT).result()
    book.claim(CLAIM).result()
    assert book.annotations().result() == (ANNOTATION,)
    assert book.reports().result() == (REPORT,)
    assert book.claims().result() == (CLAIM,)


def test_one_primary_is_told_from_another(book: SettlementBook) -> None:
    other = replace(ANNOTATION, id="A2", primary="other")
    for one in (ANNOTATION, other):
        book.annotate(one).result()
    assert book.annotations("other").result() == (other,)
    assert book.annotations("third").result() == ()


def test_a_withdrawn_annotation_stays_on_record(book: SettlementBook) -> None:
    withdrawal = replace(ANNOTATION, id="A2", withdraws="A1", reason="it was none of ours")
    for one in (ANNOTATION, withdrawal):
        book.annotate(one).result()
    assert book.annotations().result() == (ANNOTATION, withdrawal)
    assert standing(book.annotations().result()) == ()


def test_an_annotation_is_withdrawn_once_and_only_if_it_is_there(book: SettlementBook) -> None:
    book.annotate(ANNOTATION).result()
    book.annotate(replace(ANNOTATION, id="A2", withdraws="A1")).result()
    for bad in (replace(ANNOTATION, id="A3", withdraws="A1"), replace(ANNOTATION, id="A4", withdraws="A9")):
        with pytest.raises(QueueError):
            book.annotate(bad).result()


def test_what_was_written_once_is_not_written_twice(book: SettlementBook) -> None:
    book.report(REPORT).result()
    with pytest.raises(QueueError):
        book.report(REPORT).result()
    assert book.reports().result() == (REPORT,)


def test_the_last_decision_of_a_claim_is_its_state(book: SettlementBook) -> None:
    granted = replace(REFUSED, id="D2", granted=True, objections="", reason="goodwill")
    book.claim(CLAIM).result()
    states = [book.claims().result()[0].state]
    for decision in (REFUSED, granted):
        book.decide(decision).result()
        states.append(book.claims().result()[0].state)
    assert states == ["open", "refused", "granted"]
    assert book.claims("main").result()[0].decisions == (REFUSED, granted)


def test_a_month_that_was_frozen_again_keeps_what_it_was(book: SettlementBook) -> None:
    corrected = replace(FROZEN, id="F2", content='{"a": 2}', reason="a report came late")
    for one in (FROZEN, corrected, replace(FROZEN, id="F3", month="2026-09")):
        book.freeze(one).result()
    assert book.frozen("2026-10").result() == {"main": (FROZEN, corrected)}
