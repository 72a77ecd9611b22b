"""`fallback-mx maintenance …` on a real database, as an operator runs it; and what is settled with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.history import on_record, span, watch
from tests.fakes.operator import Operator

HOUR = timedelta(hours=1)
ICS = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//x//EN
BEGIN:VEVENT
UID:1@provider
DTSTART;TZID=Europe/Prague:20990305T220000
DURATION:PT1H
RRULE:FREQ=WEEKLY;BYDAY=TH
SUMMARY:Weekly window
END:VEVENT
{more}END:VCALENDAR
"""
BROKEN = "BEGIN:VEVENT\nUID:2@provider\nDTSTART:20990305T220000Z\nEND:VEVENT\n"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


def add(operator: Operator, *words: str) -> dict[str, object]:
    (made,) = operator.json("maintenance", "add", *words)
    return made


def hence(length: timedelta) -> str:
    return (datetime.now(UTC) + length).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_what_was_announced_is_listed_with_its_notice_and_author(operator: Operator) -> None:
    made = add(operator, "main", "--start", hence(30 * HOUR), "--for", "1h", "--reason", "new disks")
    (listed,) = operator.json("maintenance", "list")
    assert listed == made
    assert (listed["primary"], listed["kind"], listed["state"], listed["late"]) == (
        "main",
        "scheduled",
        "to come",
        False,
    )
    row = operator.run("maintenance", "list").stdout.splitlines()[1].split("\t")
    assert row[7:] == ["1 day 5 h", listed["author"], "new disks"]


def test_a_start_is_by_the_clock_of_the_time_zone_and_a_rule_goes_by_it(operator: Operator) -> None:
    words = ("--start", "2099-03-26T22:00", "--time-zone", "Europe/Prague", "--for", "1h")
    add(operator, "main", *words, "--rule", "FREQ=WEEKLY;BYDAY=TH;COUNT=2")
    windows = operator.json("maintenance", "list", "--month", "2099-03") + operator.json(
        *("maintenance", "list", "--month", "2099-04")
    )
    assert [each["start"] for each in windows] == ["2099-03-26T21:00:00.000000Z", "2099-04-02T20:00:00.000000Z"]


@pytest.mark.parametrize(
    ("words", "late", "said"),
    [
        ((), True, "2 h 59 min (late)"),
        (("--unannounced",), True, "none (late)"),
        (("--kind", "emergency", "--unannounced"), False, "none"),
        (("--announced", "2026-01-01"), False, ""),
    ],
)
def test_what_is_announced_late_is_marked(operator: Operator, words: tuple[str, ...], late: bool, said: str) -> None:
    assert add(operator, "main", "--start", hence(3 * HOUR), "--for", "1h", *words)["late"] is late
    assert said in operator.run("maintenance", "list").stdout.splitlines()[1].split("\t")[7]


def test_how_much_notice_is_asked_for_is_a_setting(operator: Operator) -> None:
    text = operator.config.read_text()
    operator.config.write_text(text.replace('host = "192.0.2.25"', 'host = "192.0.2.25"\nmaintenance_notice = "2h"'))
    assert add(operator, "main", "--start", hence(3 * HOUR), "--for", "1h")["late"] is False
    assert "announced late" in operator.run("maintenance", "add", "other", "--start", hence(HOUR), "--for", "1h").stdout


def test_cancelled_is_what_is_to_come_and_it_stays_on_record(operator: Operator) -> None:
    made = add(operator, "--all", "--start", hence(3 * HOUR), "--for", "1h")
    assert operator.run("maintenance", "cancel", str(made["id"]), "--reason", "not now").exit_code == 0
    assert operator.json("maintenance", "list") == []
    (past,) = operator.json("maintenance", "list", "--past")
    assert (past["state"], past["cancelled"][0]["reason"]) == ("cancelled", "not now")
    again = operator.run("maintenance", "cancel", str(made["id"]), "--reason", "not now")
    assert (again.exit_code, "nothing of 1 is left to cancel" in again.stderr) == (1, True)


def test_one_window_of_a_series_is_cancelled(operator: Operator) -> None:
    add(operator, "main", "--start", "2099-03-05T20:00", "--for", "1h", "--rule", "FREQ=WEEKLY")
    words = ("maintenance", "cancel", "1", "--reason", "holiday", "--window")
    assert operator.run(*words, "2099-03-12T21:00").exit_code == 3
    assert operator.run(*words, "2099-03-12T20:00").exit_code == 0
    starts = [each["start"][8:10] for each in operator.json("maintenance", "list", "--month", "2099-03")]
    assert starts == ["05", "19", "26"]


def test_what_is_over_is_taken_back_only_entirely(operator: Operator) -> None:
    add(operator, "main", "--start", "2026-10-05T20:00", "--for", "1h")
    words = ("maintenance", "cancel", "1", "--reason", "it was the other one")
    assert operator.run(*words).exit_code == 1
    assert operator.run(*words, "--entirely").exit_code == 0
    assert operator.json("maintenance", "list", "--month", "2026-10") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--start", "now", "--for", "1h"), "Say whose maintenance it is"),
        (("mian", "--start", "now", "--for", "1h"), "No primary is called mian; there are main, other."),
        (("main", "--start", "soon", "--for", "1h"), "--start soon is not a time."),
        (("main", "--start", "now"), "Say how long it is"),
        (("main", "--start", "now", "--for", "long"), "--for long is not a duration."),
        (("main", "--start", "now", "--for", "40d"), "at most 31 days"),
        (("main", "--start", "2026-12-03T20:00", "--end", "2026-12-03T19:00"), "more than nothing"),
        (("main", "--start", "now", "--for", "1h", "--time-zone", "Mars"), "--time-zone Mars is no time zone."),
        (("main", "--start", "now", "--for", "1h", "--rule", "FREQ=HOURLY"), "more often than maintenance can be"),
        (
            ("main", "--start", "2026-12-02T20:00", "--for", "1h", "--rule", "FREQ=WEEKLY;BYDAY=TH"),
            "Wednesday 2026-12-02 20:00 is none of FREQ=WEEKLY;BYDAY=TH; the first one after it is Thursday 2026-12-03",
        ),
        (("main", "--start", "now", "--for", "1h", "--announced", "2099-01-01"), "is still to come"),
    ],
)
def test_what_was_meant_wrongly_is_code_2_and_announces_nothing(
    operator: Operator, words: tuple[str, ...], said: str
) -> None:
    result = operator.run("maintenance", "add", *words)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert operator.json("maintenance", "list", "--past") == []


# Calendars ----------------------------------------------------------------------------------------------------------


def test_a_calendar_is_read_once_and_what_is_written_of_it_is_read_as_the_same(
    operator: Operator, tmp_path: Path
) -> None:
    ics = tmp_path / "provider.ics"
    ics.write_text(ICS.format(more=""))
    assert operator.run("maintenance", "import", str(ics), "--primary", "main", "--dry-run").stdout == (
        "1 event: 1 added (dry run).\n"
    )
    assert operator.run("maintenance", "import", str(ics), "--primary", "main").stdout == "1 event: 1 added.\n"
    assert operator.run("maintenance", "import", str(ics), "--primary", "main").stdout == "1 event: 1 unchanged.\n"
    written = operator.run("maintenance", "export", "--primary", "main")
    assert "SUMMARY:Maintenance of main" in written.stdout
    again = operator.run("maintenance", "import", "-", "--primary", "main", input=written.stdout)
    assert again.stdout == "1 event: 1 unchanged.\n"


def test_a_calendar_is_written_to_a_file_or_within_json(operator: Operator, tmp_path: Path) -> None:
    add(operator, "main", "--start", "2099-03-05T20:00", "--for", "1h")
    (told,) = operator.json("maintenance", "export")
    assert (told["events"], told["calendar"].startswith("BEGIN:VCALENDAR")) == (1, True)
    file = tmp_path / "maintenance.ics"
    assert operator.run("maintenance", "export", "--output", str(file)).stdout == f"{file} is written: 1 event.\n"
    assert file.read_text().count("BEGIN:VEVENT") == 1


def test_events_that_cannot_be_taken_are_named_and_the_others_are_taken(operator: Operator) -> None:
    result = operator.run("maintenance", "import", "-", "--all", input=ICS.format(more=BROKEN))
    assert (result.exit_code, result.stdout) == (5, "1 event: 1 added, 1 refused.\n")
    assert "2@provider: it has neither DTEND nor DURATION" in result.stderr
    assert len(operator.json("maintenance", "list")) == 1


@pytest.mark.parametrize(("text", "code"), [("junk", 1), (ICS[:50] + "END:VCALENDAR\n", 3)])
def test_what_is_no_calendar_or_has_no_event_changes_nothing(operator: Operator, text: str, code: int) -> None:
    result = operator.run("maintenance", "import", "-", "--all", input=text)
    assert (result.exit_code, result.stderr.startswith("fallback-mx: <stdin> cannot be read: it is no calendar")) == (
        code,
        code == 1,
    )
    assert operator.json("maintenance", "list", "--past") == []


# What follows -------------------------------------------------------------------------------------------------------


def test_an_outage_in_maintenance_does_not_count_and_its_remainder_does(operator: Operator) -> None:
    on_record(operator, span("S1", "2026-10-12 10:00 > 12:00"), watch("W1", "2026-09-20 > 2026-11-10"))
    words = ("sla", "report", "--month", "2026-10", "--primary", "main")
    assert operator.json(*words)[0]["seconds"]["down"] == 7200
    add(
        operator, "main", "--start", "2026-10-12T09:50", "--for", "1h", "--announced", "2026-10-10", "--reason", "disks"
    )
    (after,) = operator.json(*words)
    assert (after["seconds"]["down"], after["seconds"]["maintenance"]) == (70 * 60, 3600)
    assert "scheduled maintenance: disks" in operator.run("sla", "explain", *words[2:]).stdout


def test_the_list_of_primaries_says_when_maintenance_is(operator: Operator) -> None:
    add(operator, "main", "--start", "now", "--for", "1h")
    coming = add(operator, "other", "--start", hence(30 * HOUR), "--for", "1h")
    main, other = (line.split("\t")[7] for line in operator.run("primary", "list").stdout.splitlines()[1:])
    assert main.startswith("until ")
    assert other == f"from {str(coming['start'])[:19]}Z"
    assert [one["maintenance"]["on"] is None for one in operator.json("primary", "list")] == [False, True]


def test_maintenance_wants_its_tables_and_a_migration_makes_them(operator: Operator) -> None:
    queue = operator.open()
    for table in ("maintenance_cancellation", "maintenance", "maintenance_version"):
        drop = f"DROP TABLE {table}"
        queue.writer.submit(lambda connection, drop=drop: connection.exec_driver_sql(drop) and None).result()
    queue.close()
    words = ("maintenance", "add", "main", "--start", "now", "--for", "1h")
    assert operator.run(*words).exit_code == 4
    assert operator.run("sla", "report").exit_code == 4
    assert operator.run("db", "migrate").stdout == "The database was migrated.\n"
    assert operator.run(*words).exit_code == 0
