"""FAULTS 24, 46 and 48: whatever a monitor left on record, it adds up, and claims nothing that nobody saw."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.settlement.book import SettlementBook
from fallback_mx.settlement.gathering import records
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.parts import Parts, divide
from mxqueue import Queue
from tests.fakes.history import span, watch
from tests.fakes.operator import Operator
from tests.fakes.settled import between, moment

MONTH = between("2026-11-01 00:00 > 2026-12-01 00:00")
AFTER = moment("2026-12-02 00:00")
HOUR = timedelta(hours=1)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    opened = Operator(tmp_path).open()
    yield opened
    opened.close()


def parts(queue: Queue, *values: Span | Watch, now: datetime = AFTER, period: Interval = MONTH) -> Parts:
    """What a record comes to: written down, read back and divided."""
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    spans = [value for value in values if isinstance(value, Span)]
    log.write(spans, [value for value in values if isinstance(value, Watch)]).result()
    book = SettlementBook(queue.writer.submit, queue.read)
    history = records(log, book, ["main"], period, now)["main"].history
    return divide(period, known=history.known, down=history.down).parts


def test_while_the_monitor_was_dead_the_time_is_unknown_though_the_outage_went_on(queue: Queue) -> None:
    found = parts(
        queue,
        span("S1", "2026-11-10 10:00 > 15:00"),
        watch("W1", "2026-11-01 > 2026-11-10 11:00"),
        watch("W2", "2026-11-10 13:00 > 2026-12-01"),
    )
    assert (found.down, found.unknown) == (3 * HOUR, 2 * HOUR)


def test_a_restart_in_an_outage_leaves_one_outage_that_one_report_is_of(queue: Queue) -> None:
    values = (
        span("S1", "2026-11-10 10:00 > 15:00"),
        watch("W1", "2026-11-01 > 2026-11-10 11:00"),
        watch("W2", "2026-11-10 13:00 > 2026-12-01"),
    )
    parts(queue, *values)
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    book = SettlementBook(queue.writer.submit, queue.read)
    (outage,) = records(log, book, ["main"], MONTH, AFTER)["main"].history.outages
    assert outage == between("2026-11-10 10:00 > 15:00")


def test_an_outage_that_a_dead_node_left_open_ends_where_that_node_looked_last(queue: Queue) -> None:
    found = parts(
        queue,
        span("S1", "2026-11-10 10:00 > now", node="mx1"),
        watch("W1", "2026-11-01 > 2026-11-10 11:00", node="mx1"),
        watch("W2", "2026-11-10 10:30 > 2026-12-01", node="mx2"),
    )
    assert (found.down, found.unknown) == (HOUR, timedelta(0))


def test_a_failure_that_a_dead_node_never_confirmed_hides_nothing_that_others_saw(queue: Queue) -> None:
    lone = span("S1", "2026-11-10 10:00 > now", node="mx1")
    found = parts(
        queue,
        Span(lone.id, lone.primary, lone.node, lone.started_at, "connect", "refused"),
        watch("W1", "2026-11-01 > 2026-11-10 10:00", node="mx1"),
        watch("W2", "2026-11-01 > 2026-12-01", node="mx2"),
    )
    assert (found.down, found.unknown) == (timedelta(0), timedelta(0))


def test_an_outage_that_goes_on_is_down_until_now(queue: Queue) -> None:
    now = moment("2026-11-10 12:00")
    values = (span("S1", "2026-11-10 10:00 > now"), watch("W1", "2026-11-01 > 2026-11-10 12:00"))
    found = parts(queue, *values, now=now, period=Interval(MONTH.start, now))
    assert (found.down, found.unknown) == (2 * HOUR, timedelta(0))


# A clock that was set back makes ends that lie before their starts, and one that was set forward, ends far ahead.
seconds = st.integers(-40 * 86400, 400 * 86400)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans=st.lists(st.tuples(seconds, seconds | st.none(), st.booleans(), st.sampled_from(["mx1", "mx2"])), max_size=6),
    watches=st.lists(st.tuples(seconds, seconds, st.sampled_from(["mx1", "mx2"])), max_size=6),
)
def test_no_record_of_stepping_clocks_makes_time_that_is_not_there(
    queue: Queue,
    spans: list[tuple[int, int | None, bool, str]],
    watches: list[tuple[int, int, str]],
) -> None:
    def at(second: int) -> datetime:
        return MONTH.start + timedelta(seconds=second)

    made: list[Span | Watch] = [
        Span(
            f"S{number}", "main", node, at(start), "connect", "", at(start) if confirmed else None, None,
            # One of them is open at most: the database holds that of each node.
            None if end is None and number == 0 else at(end or start),
        )
        for number, (start, end, confirmed, node) in enumerate(spans)
    ]  # fmt: skip
    made += [Watch(f"W{number}", "main", node, at(start), at(end)) for number, (start, end, node) in enumerate(watches)]
    queue.writer.submit(
        lambda connection: [connection.exec_driver_sql(f"DELETE FROM {table}") for table in ("outage", "watch")]
    ).result()
    found = parts(queue, *made)
    assert found.total == MONTH.length
    assert min(found.down, found.up, found.unknown) >= timedelta(0)
