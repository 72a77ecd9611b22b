"""What a settlement reads of the record, on a real SQLite and a real PostgreSQL: of one primary as of many."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fallback_mx.outages import spans
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.schema import MIGRATIONS as OUTAGES
from fallback_mx.settlement.book import SettlementBook
from fallback_mx.settlement.gathering import records
from fallback_mx.settlement.schema import MIGRATIONS as SETTLEMENT
from mxqueue import Queue
from mxqueue.migrate import QUEUE
from tests.fakes.history import span, watch
from tests.fakes.settled import between, moment

MONTH = between("2026-11-01 00:00 > 2026-12-01 00:00")
NOW = moment("2026-12-05 00:00")
SPANS = [
    span("S1", "2026-11-10 10:00 > 12:00"),
    span("S2", "2026-11-10 11:00 > 13:00", node="mx1"),
    span("S3", "2026-11-20 10:00 > 11:00", "other"),
    span("S4", "2026-12-02 10:00 > 11:00"),
]
WATCHES = [
    watch("W1", "2026-11-01 00:00:00.000001 > 2026-11-10 11:30"),
    watch("W2", "2026-11-02 > 2026-12-03", node="mx1"),
    watch("W3", "2026-11-05 > 2026-12-03", "other"),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/queue.db" if sqlite else request.getfixturevalue("postgres_url")
    opened = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, OUTAGES, SETTLEMENT))
    OutageLog(opened.writer.submit, opened.read, "mx2").write(SPANS, WATCHES).result()
    yield opened
    opened.close()


def test_the_watched_time_of_all_is_that_of_each(queue: Queue) -> None:
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    found = log.watches_of_all(MONTH).result()
    assert found == {name: log.list_watches(name, MONTH).result() for name in ("main", "other")}


def test_one_primary_is_read_as_it_is_among_many(queue: Queue) -> None:
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    book = SettlementBook(queue.writer.submit, queue.read)
    many = records(log, book, ["main", "other", "third"], MONTH, NOW)
    for name in many:
        assert records(log, book, [name], MONTH, NOW) == {name: many[name]}
    assert many["third"].history.known == ()


def test_downtime_is_what_the_record_itself_says(queue: Queue) -> None:
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    main = records(log, SettlementBook(queue.writer.submit, queue.read), ["main"], MONTH, NOW)["main"]
    of_main = [one for one in SPANS if one.primary == "main" and one.started_at < MONTH.end]
    assert main.history.down == spans.down(of_main, [one for one in WATCHES if one.primary == "main"])
    # mx2 watched its outage to 11:30, mx1 all of its own.
    assert main.history.down == (between("2026-11-10 10:00 > 13:00"),)
    assert main.history.outages == (between("2026-11-10 10:00 > 13:00"),)
    uptime = log.uptime("main", MONTH).result()
    assert uptime.down == timedelta(hours=3)
