"""`fallback-mx outage list|show`: slow and unknown time, and the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fallback_mx.outages.gaps import Cause, Gap, gap
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Kind, Span, Watch
from fallback_mx.sla.intervals import Interval
from tests.fakes.operator import Operator

NOVEMBER = datetime(2025, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ID = "01KB2Q8GZ4AAAAAAAAAAAAAAAA"


def at(days: float) -> datetime:
    return NOVEMBER + days * DAY


def span(start: float, end: float | None, span_id: str = ID, **more: object) -> Span:
    known = Span(
        span_id,
        "main",
        "mx2.example.com",
        at(start),
        "connect",
        "connection refused by <bob@example.org>",
        confirmed_at=at(start),
        ended_at=None if end is None else at(end),
    )
    return replace(known, **more)  # type: ignore[arg-type]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


def record(operator: Operator, spans: Sequence[Span], gaps: Sequence[Gap] = (), until: float = 10) -> None:
    """Watched from the first of November on, with a hole from the fourth to the sixth day."""
    queue = operator.open()
    log = OutageLog(queue.writer.submit, queue.read, "mx2.example.com")
    watches = [
        Watch(f"W{each}", "main", "mx2.example.com", at(start), at(end))
        for each, (start, end) in enumerate([(0, 4), (6, until)])
    ]
    log.write(spans, watches, gaps).result()
    queue.close()


def november(operator: Operator) -> list[dict[str, object]]:
    return operator.json("outage", "list", "--month", "2025-11", "--primary", "main")


def test_slow_time_and_closed_ports_are_listed_as_what_they_are_and_are_not_down(operator: Operator) -> None:
    spans = [
        span(1, 1.5, "A", kind=Kind.SLOW, cause_phase="banner", cause_detail="took 9 s"),
        span(2, 2.5, "B", kind=Kind.PORT, subject="993"),
        span(3, 3.5, "C"),
    ]
    record(operator, spans)
    lines = november(operator)
    assert [(line["kind"], line["id"]) for line in lines if "id" in line] == [
        ("slow", "A"),
        ("port", "B"),
        ("outage", "C"),
    ]
    (uptime,) = [line for line in lines if line["kind"] == "uptime"]
    assert uptime["down_seconds"] == DAY.total_seconds() / 2
    rows = [row.split("\t") for row in operator.run("outage", "list", "--month", "2025-11").stdout.splitlines()]
    told = {row[-1]: (row[1], row[5]) for row in rows if row[-1] in {"A", "B", "C"}}
    assert told["A"] == ("slow", "banner: took 9 s")
    assert told["B"] == ("port", "port 993: connection refused by <…@example.org>")


def test_unknown_time_is_listed_with_its_cause(operator: Operator) -> None:
    cut_off = gap("G", "main", "mx2.example.com", Interval(at(4), at(5)), Cause.CUT_OFF, "no control answers")
    record(operator, [], [cut_off])
    unknown = [line for line in november(operator) if line["kind"] == "unknown"]
    assert [(line["started_at"], line["cause"], line["detail"]) for line in unknown] == [
        ("2025-11-05T00:00:00.000000Z", "cut_off", "no control answers"),
        ("2025-11-06T00:00:00.000000Z", None, ""),
        ("2025-11-11T00:00:00.000000Z", None, ""),
    ]
    assert sum(float(str(line["duration_seconds"])) for line in unknown) == 22 * DAY.total_seconds()
    told = operator.run("outage", "list", "--month", "2025-11", "--primary", "main").stdout
    assert "we were cut off from the network: no control answers" in told
    assert "nobody watched" in told


def test_an_outage_is_shown_as_a_story_by_the_beginning_of_its_id(operator: Operator) -> None:
    evidence = {
        "last_good_at": at(2.9),
        "failures": 7,
        "last_failed_at": at(6.5),
        "last_failed_phase": "banner",
        "last_failed_detail": "421 busy",
        "end_phase": "ehlo",
        "end_detail": "250 hi",
        "mail_accepted": 3,
        "mail_delivered": 1,
    }
    record(operator, [span(3, 7, **evidence)], [gap("G", "main", "mx2.example.com", Interval(at(4), at(6)), Cause.OFF)])
    result = operator.run("outage", "show", "01kb2q")
    assert result.exit_code == 0, result.output
    head, *rest = result.stdout.splitlines()
    assert head == "From 2025-11-04T00:00:00Z to 2025-11-08T00:00:00Z, for 4 days, main was down."
    told = [row.split("\t") for row in rest if "\t" in row][1:]
    assert told == [
        ["2025-11-03T21:36:00Z", "the last good look before it"],
        ["2025-11-04T00:00:00Z", "the first look that failed, connect: connection refused by <…@example.org>"],
        ["2025-11-05T00:00:00Z to 2025-11-07T00:00:00Z", "unknown: the monitor was off"],
        ["2025-11-07T12:00:00Z", "the last of 7 failures, banner: 421 busy"],
        ["2025-11-08T00:00:00Z", "ended: ehlo: 250 hi"],
    ]
    assert rest[-1] == (
        f"Meanwhile 3 messages came in here, and mail went out to 1 recipient. Seen by mx2.example.com; id {ID}."
    )


def test_the_evidence_is_there_for_programs_too(operator: Operator) -> None:
    record(operator, [span(3, 7, mail_accepted=3)])
    (shown,) = operator.json("outage", "show", ID)
    assert (shown["kind"], shown["id"], shown["mail_accepted"]) == ("outage", ID, 3)
    assert [piece["started_at"] for piece in shown["unknown"]] == ["2025-11-05T00:00:00.000000Z"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (span(3, None, ID), "main was down, and it goes on."),
        (span(3, 4, ID, kind=Kind.SLOW), "main was slow."),
        (span(3, 4, ID, kind=Kind.PORT, subject="993"), "nobody answered at port 993 of main."),
        (span(3, 4, ID, confirmed_at=None), "main failed, too briefly to count."),
    ],
)
def test_the_headline_says_what_it_was(operator: Operator, made: Span, said: str) -> None:
    record(operator, [made])
    assert operator.run("outage", "show", ID).stdout.splitlines()[0].endswith(said)


@pytest.mark.parametrize("wanted", ["01KB2Q8GZ5", ""])
def test_an_id_that_nothing_has_is_code_3(operator: Operator, wanted: str) -> None:
    record(operator, [span(3, 7)])
    result = operator.run("outage", "show", wanted)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no id begins with" in result.stderr


def test_an_id_that_two_have_is_code_3(operator: Operator) -> None:
    record(operator, [span(1, 2, "01KB1"), span(3, 4, "01KB2")])
    result = operator.run("outage", "show", "01KB")
    assert result.exit_code == 3
    assert "more than one id begins with 01KB" in result.stderr


def test_a_database_of_the_first_record_wants_a_migration_and_keeps_what_it_has(operator: Operator) -> None:
    record(operator, [span(3, 7)])
    queue = operator.open()
    undo = (
        "DROP INDEX outage_open",
        *(f"ALTER TABLE outage DROP COLUMN {name}" for name in NEW_COLUMNS),
        "DROP TABLE gap",
        'CREATE UNIQUE INDEX outage_open ON outage ("primary", node) WHERE ended_at IS NULL',
        "UPDATE outages_version SET version_num = '0001'",
    )
    for statement in undo:
        queue.writer.submit(lambda connection, s=statement: connection.exec_driver_sql(s) and None).result()  # type: ignore[misc]
    queue.close()
    assert "fallback-mx db migrate" in operator.run("outage", "list").stderr
    assert operator.run("db", "migrate").stdout == "The database was migrated.\n"
    (shown,) = [line for line in november(operator) if line["kind"] == "outage"]
    assert (shown["id"], shown["failures"]) == (ID, 1)


NEW_COLUMNS = (
    *("kind", "subject", "last_failed_phase", "last_failed_detail", "end_phase", "failures", "mail_accepted"),
    *("mail_delivered", "last_good_at", "last_failed_at"),
)
