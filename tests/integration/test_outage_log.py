"""The durable record of outages, in a real SQLite and a real PostgreSQL."""

import asyncio
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from fallback_mx.outages import schema
from fallback_mx.outages.gaps import Cause, Gap, Unknown, gap
from fallback_mx.outages.log import Latest, OutageLog
from fallback_mx.outages.recorder import Recorder
from fallback_mx.outages.spans import Kind, Span, Watch
from fallback_mx.rules.health import Observation
from fallback_mx.sla.intervals import Interval
from mxqueue import Queue, QueueError
from mxqueue.engine import make_engine
from mxqueue.migrate import QUEUE, run_scripts, upgrade
from tests.fakes.tables import lay

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def span(
    span_id: str,
    start: float,
    end: float | None = None,
    *,
    primary: str = "main",
    node: str = "mx2",
    confirmed: bool = True,
) -> Span:
    return Span(
        id=span_id,
        primary=primary,
        node=node,
        started_at=at(start),
        cause_phase="connect",
        cause_detail="connection refused",
        confirmed_at=at(start + 1) if confirmed else None,
        ended_at=None if end is None else at(end),
        end_detail="" if end is None else "250 hi",
    )


def watch(watch_id: str, start: float, end: float, *, primary: str = "main", node: str = "mx2") -> Watch:
    return Watch(watch_id, primary, node, at(start), at(end))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return lay(tmp_path / "queue.db", (QUEUE, schema.MIGRATIONS))
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    queue = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, schema.MIGRATIONS))
    yield queue
    queue.close()


@pytest.fixture
def log(queue: Queue) -> OutageLog:
    return OutageLog(queue.writer.submit, queue.read, "mx2")


def other_node(queue: Queue, node: str) -> OutageLog:
    return OutageLog(queue.writer.submit, queue.read, node)


# The tables -----------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_of_the_schema(queue: Queue) -> None:
    ours = set(schema.metadata.tables)

    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, parents: kind != "table" or name in ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))

    assert queue.read(differences).result() == []


def test_the_columns_are_the_fields_of_the_values() -> None:
    assert {column.name for column in schema.outage.columns} == {field.name for field in fields(Span)}
    assert {column.name for column in schema.watch.columns} == {field.name for field in fields(Watch)}
    assert {column.name for column in schema.gap.columns} == {field.name for field in fields(Gap)}


FIRST_RECORD = [
    'INSERT INTO outage (id, "primary", node, started_at, cause_phase, cause_detail, confirmed_at, ended_at,'
    " end_detail)"
    " VALUES ('A', 'main', 'mx2', 60000000, 'connect', 'refused', 61000000, 90000000, '250 hi'),"
    " ('B', 'main', 'mx2', 120000000, 'banner', '421 busy', NULL, NULL, '')",
    "INSERT INTO watch (id, \"primary\", node, started_at, ended_at) VALUES ('W', 'main', 'mx2', 0, 130000000)",
]


def test_a_record_of_the_first_version_is_migrated_and_goes_on(url: str, tmp_path: Path) -> None:
    if url.startswith("sqlite"):
        (tmp_path / "old.db").touch()
        url = f"sqlite:///{tmp_path}/old.db"
    engine = make_engine(url, writes=True)
    with engine.begin() as connection:
        run_scripts(connection, schema.MIGRATIONS, "0001")
        for statement in FIRST_RECORD:
            connection.exec_driver_sql(statement)
    assert upgrade(engine, schema.MIGRATIONS)
    engine.dispose()

    queue = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, schema.MIGRATIONS))
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    ended, going_on = log.list_spans("main").result()
    assert (ended.kind, ended.cause_detail, ended.end_detail, ended.failures) == (Kind.OUTAGE, "refused", "250 hi", 1)
    assert log.latest("main", NOON).result().span == going_on
    log.write([replace(going_on, confirmed_at=at(0), ended_at=at(1))], [watch("W2", 0, 5)]).result()
    assert [each.ended_at for each in log.list_spans().result()] == [ended.ended_at, at(1)]
    queue.close()


# Writing --------------------------------------------------------------------------------------------------------


def test_a_span_comes_back_as_it_was_written(log: OutageLog) -> None:
    written = replace(
        span("A", 1, 9), recovering_since=at(8), started_at=at(1) + timedelta(microseconds=1), cause_detail="é☠"
    )
    log.write([written], []).result()
    assert log.list_spans().result() == [written]


def test_a_watch_comes_back_as_it_was_written(log: OutageLog) -> None:
    log.write([], [watch("A", 0, 5)]).result()
    assert log.list_watches("main", Interval(at(0), at(60))).result() == [watch("A", 0, 5)]


def test_writing_a_span_again_replaces_it(log: OutageLog) -> None:
    for version in (span("A", 1), span("A", 1), span("A", 1, 9)):
        log.write([version], []).result()
    assert log.list_spans().result() == [span("A", 1, 9)]


def test_writing_a_watch_again_replaces_it(log: OutageLog) -> None:
    for end in (5, 6, 6):
        log.write([], [watch("A", 0, end)]).result()
    assert log.list_watches("main", Interval(at(0), at(60))).result() == [watch("A", 0, 6)]


def test_a_gap_comes_back_as_it_was_written_and_again_in_its_place(log: OutageLog) -> None:
    for end in (5, 9):
        written = gap("G", "main", "mx2", Interval(at(0), at(end)), Cause.CUT_OFF, "no control answers")
        log.write([], [], [written]).result()
    assert log.unknown("main", Interval(at(0), at(60))).result() == (
        Unknown(Interval(at(0), at(9)), Cause.CUT_OFF, "no control answers"),
        Unknown(Interval(at(9), at(60))),
    )


def test_gaps_of_other_primaries_say_nothing_of_this_one(log: OutageLog) -> None:
    log.write([], [], [gap("G", "other", "mx2", Interval(at(0), at(60)), Cause.OFF)]).result()
    assert log.unknown("main", Interval(at(0), at(60))).result() == (Unknown(Interval(at(0), at(60))),)


def test_a_write_is_all_or_nothing(log: OutageLog) -> None:
    log.write([span("A", 1)], []).result()
    with pytest.raises(QueueError):
        log.write([span("B", 5)], [watch("W", 0, 5)]).result()
    assert log.list_spans().result() == [span("A", 1)]
    assert log.list_watches("main", Interval(at(0), at(60))).result() == []


def test_a_primary_has_one_open_outage_a_node(log: OutageLog, queue: Queue) -> None:
    log.write([span("A", 1), span("B", 1, primary="other")], []).result()
    other_node(queue, "mx3").write([span("C", 1, node="mx3")], []).result()
    with pytest.raises(QueueError, match=r"(?i)unique"):
        log.write([span("D", 2)], []).result()


def test_an_outage_slow_time_and_closed_ports_may_go_on_side_by_side(log: OutageLog) -> None:
    slow = replace(span("B", 1), kind=Kind.SLOW)
    ports = [replace(span(each, 1), kind=Kind.PORT, subject=each) for each in ("443", "993")]
    log.write([span("A", 1), slow, *ports], []).result()
    latest = log.latest("main", at(10)).result()
    assert latest.span == span("A", 1)
    assert {each.id for each in latest.beside} == {"B", "443", "993"}
    with pytest.raises(QueueError, match=r"(?i)unique"):
        log.write([replace(span("C", 2), kind=Kind.PORT, subject="993")], []).result()


def test_an_outage_that_ends_makes_room_for_the_next_in_one_write(log: OutageLog) -> None:
    log.write([span("A", 1)], []).result()
    log.write([span("A", 1, 5), span("B", 6)], []).result()
    assert [each.id for each in log.list_spans().result()] == ["A", "B"]


def test_what_was_written_is_there_after_a_restart(url: str) -> None:
    for expected in ([], [span("A", 1)]):
        queue = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, schema.MIGRATIONS))
        log = OutageLog(queue.writer.submit, queue.read, "mx2")
        assert log.list_spans().result() == expected
        log.write([span("A", 1)], []).result()
        queue.close()


# Reading --------------------------------------------------------------------------------------------------------


def test_spans_are_listed_oldest_first(log: OutageLog) -> None:
    log.write([span("B", 20, 30), span("A", 1, 9), span("C", 5, 6, primary="other")], []).result()
    assert [each.id for each in log.list_spans().result()] == ["A", "C", "B"]


def test_spans_of_one_primary_are_listed_alone(log: OutageLog) -> None:
    log.write([span("A", 1, 9), span("C", 5, 6, primary="other")], []).result()
    assert [each.id for each in log.list_spans("other").result()] == ["C"]


def test_spans_since_are_those_that_were_not_over(log: OutageLog) -> None:
    log.write([span("A", 1, 9), span("B", 8, 10), span("C", 0)], []).result()
    assert [each.id for each in log.list_spans(since=at(9)).result()] == ["C", "B"]


def test_blips_are_listed_only_when_asked_for(log: OutageLog) -> None:
    log.write([span("A", 1, 2, confirmed=False), span("B", 3, confirmed=False)], []).result()
    assert [each.id for each in log.list_spans().result()] == ["B"]
    assert [each.id for each in log.list_spans(blips=True).result()] == ["A", "B"]


def test_slow_time_and_closed_ports_are_listed_only_when_asked_for(log: OutageLog) -> None:
    slow, port = replace(span("B", 2, 9), kind=Kind.SLOW), replace(span("C", 3, 9), kind=Kind.PORT, subject="993")
    log.write([span("A", 1, 9), slow, port], []).result()
    assert log.list_spans().result() == [span("A", 1, 9)]
    assert log.list_spans(kinds=(Kind.SLOW, Kind.PORT)).result() == [slow, port]


def test_a_span_is_found_by_the_beginning_of_its_id(log: OutageLog) -> None:
    log.write([span("AB1", 1, 9), replace(span("AB2", 2, 9), kind=Kind.SLOW), span("A_3", 3, 9)], []).result()
    assert [each.id for each in log.find("AB1").result()] == ["AB1"]
    assert [each.id for each in log.find("AB").result()] == ["AB1", "AB2"]
    assert [each.id for each in log.find("A_").result()] == ["A_3"]
    assert log.find("X").result() == []


def test_watches_that_touch_a_period_are_listed(log: OutageLog) -> None:
    written = [watch("A", 0, 10), watch("B", 10, 20), watch("C", 20, 30), watch("D", 0, 60, primary="other")]
    log.write([], written).result()
    assert [each.id for each in log.list_watches("main", Interval(at(10), at(20))).result()] == ["B"]
    assert [each.id for each in log.list_watches("main", Interval(at(9), at(21))).result()] == ["A", "B", "C"]


def test_the_latest_is_the_open_outage_and_the_last_watch(log: OutageLog) -> None:
    log.write([span("A", 1, 5), span("B", 6)], [watch("V", 0, 3), watch("W", 4, 9)]).result()
    assert log.latest("main", at(10)).result() == Latest(span("B", 6), watch("W", 4, 9))


def test_the_latest_of_another_node_or_primary_is_not_ours(log: OutageLog, queue: Queue) -> None:
    theirs = other_node(queue, "mx3")
    theirs.write([span("A", 1, node="mx3")], [watch("V", 0, 3, node="mx3")]).result()
    log.write([span("B", 1, primary="other")], [watch("W", 0, 3, primary="other")]).result()
    assert log.latest("main", at(10)).result() == Latest(None, None)
    assert theirs.latest("main", at(10)).result() == Latest(span("A", 1, node="mx3"), watch("V", 0, 3, node="mx3"))


def test_a_watch_from_a_clock_that_ran_ahead_is_not_the_latest(log: OutageLog) -> None:
    log.write([], [watch("V", 0, 3), watch("W", 5_000_000, 5_000_001)]).result()
    assert log.latest("main", at(10)).result().watch == watch("V", 0, 3)


# Figures --------------------------------------------------------------------------------------------------------


def figures(log: OutageLog, start: float = 0, end: float = 60) -> tuple[float, float, float]:
    uptime = log.uptime("main", Interval(at(start), at(end))).result()
    minute = timedelta(minutes=1)
    return uptime.up / minute, uptime.down / minute, uptime.unknown / minute


def test_the_uptime_of_a_period_comes_from_spans_and_watches(log: OutageLog) -> None:
    log.write([span("A", 10, 20)], [watch("W", 0, 45)]).result()
    assert figures(log) == (35, 10, 15)


def test_an_outage_that_reaches_over_the_ends_of_a_period_counts_within(log: OutageLog) -> None:
    log.write([span("A", -100, 10)], [watch("W", -200, 500)]).result()
    log.write([span("B", 50)], []).result()
    assert figures(log) == (40, 20, 0)


def test_an_outage_around_the_whole_period_fills_it(log: OutageLog) -> None:
    log.write([span("A", -100)], [watch("W", -200, 500)]).result()
    assert figures(log) == (0, 60, 0)


def test_two_hours_without_a_monitor_in_an_outage_are_unknown_and_the_outage_is_one(log: OutageLog) -> None:
    log.write([span("A", 10, 190)], [watch("V", 0, 30), watch("W", 150, 240)]).result()
    assert figures(log, 0, 240) == (60, 60, 120)
    assert len(log.list_spans("main").result()) == 1


def test_blips_and_other_primaries_leave_the_uptime_alone(log: OutageLog) -> None:
    log.write([span("A", 10, 20, confirmed=False), span("B", 10, 20, primary="other")], [watch("W", 0, 60)]).result()
    assert figures(log) == (60, 0, 0)


def test_slow_time_and_closed_ports_leave_the_uptime_alone(log: OutageLog) -> None:
    slow, port = replace(span("B", 2, 9), kind=Kind.SLOW), replace(span("C", 3), kind=Kind.PORT, subject="993")
    log.write([slow, port], [watch("W", 0, 60)]).result()
    assert figures(log) == (60, 0, 0)


def test_an_outage_that_a_dead_node_left_open_does_not_go_on(log: OutageLog, queue: Queue) -> None:
    dead = other_node(queue, "dead")
    dead.write([span("A", 10, node="dead")], [watch("V", 0, 20, node="dead")]).result()
    log.write([], [watch("W", 15, 60)]).result()
    assert figures(log) == (50, 10, 0)


def test_that_somebody_begins_to_watch_is_urgent_and_that_he_goes_on_is_not(log: OutageLog) -> None:
    async def watching() -> tuple[bool, bool, bool]:
        recorder = Recorder("main", log, timedelta(minutes=2))
        recorder.note(Observation(True, at(0), "", ""), ())
        begins = recorder.is_urgent
        await recorder.flush()
        written = recorder.is_urgent
        recorder.note(Observation(True, at(1), "", ""), ())
        return begins, written, recorder.is_urgent

    assert asyncio.run(watching()) == (True, False, False)
