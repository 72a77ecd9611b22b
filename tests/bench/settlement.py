"""How long a year of 100 primaries takes to report: `python -m tests.bench.settlement [URL]`.

The record is what a monitor leaves that looks every 30 s for a year (105 million looks): a row for each stretch that
was watched, a row for each outage. Here every primary has two outages a week, an annotation a month, a report for every
second outage, and a monitor that is restarted every so many days. Timed are the reading of the record, the settling of
all 1,200 months, and their figures. Processor seconds do not depend on who else is at work.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.schema import MIGRATIONS as OUTAGES
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.settlement.agreements import load
from fallback_mx.settlement.book import SettlementBook
from fallback_mx.settlement.data import figures
from fallback_mx.settlement.entries import ReportEntry
from fallback_mx.settlement.gathering import records
from fallback_mx.settlement.month import Contract, settled
from fallback_mx.settlement.schema import MIGRATIONS as SETTLEMENT
from fallback_mx.sla.claims import Customer
from fallback_mx.sla.exclusions import Annotation, Category
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.reports import Report
from mxqueue import Queue
from mxqueue.ids import Ids
from mxqueue.migrate import QUEUE
from mxqueue.model import utc_now

YEAR = 2025
START = datetime(YEAR, 1, 1, tzinfo=UTC)
DAYS = 365
PRIMARIES = 100
DAY = timedelta(days=1)
AFTER = datetime(YEAR + 1, 1, 10, tzinfo=UTC)


def spans(primary: str, chance: random.Random) -> Iterator[Span]:
    for week in range(DAYS // 7):
        for half in range(2):
            start = START + timedelta(days=7 * week + 3 * half, seconds=chance.randrange(200_000))
            end = start + timedelta(seconds=chance.randrange(60, 7200))
            yield Span(_ids.new(), primary, "mx2", start, "connect", "connection refused", start, None, end, "250 hi")


def watches(primary: str, days: int) -> Iterator[Watch]:
    for day in range(-32, DAYS + 9, days):
        start = START + day * DAY
        yield Watch(_ids.new(), primary, "mx2", start, start + days * DAY - timedelta(seconds=20))


def put_on_record(queue: Queue, names: list[str], days: int) -> int:
    """Rows written."""
    chance = random.Random(1)
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    book = SettlementBook(queue.writer.submit, queue.read)
    rows = 0
    for name in names:
        outages, watched = list(spans(name, chance)), list(watches(name, days))
        log.write(outages, watched).result()
        annotations = [_annotation(name, START + timedelta(days=30 * month)) for month in range(12)]
        reports = [_report(outage) for outage in outages[::2]]
        waiting = [book.annotate(one) for one in annotations] + [book.report(one) for one in reports]
        for each in waiting:
            each.result()
        rows += len(outages) + len(watched) + len(waiting)
    return rows


def _annotation(primary: str, start: datetime) -> Annotation:
    hour = Interval(start, start + timedelta(hours=1))
    return Annotation(_ids.new(), primary, hour, Category.DNS, "their resolver", "root", start)


def _report(outage: Span) -> ReportEntry:
    report = Report(outage.primary, Interval(outage.started_at, outage.started_at), "carol", outage.started_at)
    return ReportEntry(_ids.new(), report, "root", outage.started_at)


def report(queue: Queue, names: list[str]) -> tuple[float, float]:
    """Seconds to read the record, and seconds to settle the year from it."""
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    book = SettlementBook(queue.writer.submit, queue.read)
    agreement = load("kerio-cloud")
    customer = Customer("Example", "4711", frozenset(), ZoneInfo("Europe/Prague"))
    contracts = [Contract(name, agreement, "cloud/EU", customer, lambda day: day.weekday() < 5) for name in names]
    begun = time.perf_counter()
    found = records(log, book, names, Interval(START, START + DAYS * DAY), AFTER)
    read = time.perf_counter()
    for contract in contracts:
        for month in range(1, 13):
            figures(settled(contract, f"{YEAR}-{month:02}", found[contract.primary], AFTER))
    return read - begun, time.perf_counter() - read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "url", nargs="?", help="an empty PostgreSQL database; otherwise SQLite in a temporary directory"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--days", type=int, default=7, help="days from one restart of the monitor to the next")
    given = parser.parse_args()
    names = [f"primary-{number:03}" for number in range(PRIMARIES)]
    with tempfile.TemporaryDirectory() as directory:
        url = given.url or f"sqlite:///{directory}/queue.db"
        queue = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, OUTAGES, SETTLEMENT))
        try:
            print(f"{put_on_record(queue, names, given.days):,} rows")
            for _ in range(given.runs):
                cpu = time.process_time()
                reading, settling = report(queue, names)
                cpu = time.process_time() - cpu
                clock = f"read {reading:.2f} s, settled {settling:.2f} s, in all {reading + settling:.2f} s"
                print(f"{clock}; {cpu:.2f} s of CPU")
        finally:
            queue.close()


_ids = Ids(utc_now)

if __name__ == "__main__":
    main()
