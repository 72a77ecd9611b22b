"""Maintenance from calendars and as one (RFC 5545)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fallback_mx.maintenance.announcement import Announcement, Cancellation, Entry, Times
from fallback_mx.maintenance.calendar_in import Event, read
from fallback_mx.maintenance.calendar_out import calendar
from fallback_mx.maintenance.importing import Changes, Terms, changes
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.windows import MaintenanceKind

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
YEAR = Interval(datetime(2026, 10, 1, tzinfo=UTC), datetime(2027, 10, 1, tzinfo=UTC))
TERMS = Terms("main", MaintenanceKind.SCHEDULED, NOW, "root", NOW)

OUTLOOK_ZONE = """\
BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
"""


def ics(*events: str, before: str = "") -> bytes:
    body = "".join(f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//EN\n{before}{body}END:VCALENDAR\n"
    return text.replace("\n", "\r\n").encode()


def one(text: str, zone: str = "UTC", before: str = "") -> Event:
    events, flaws = read(ics(text, before=before), zone)
    assert flaws == ()
    (event,) = events
    return event


def wrong(text: str) -> str:
    events, (flaw,) = read(ics(text), "UTC")
    assert events == ()
    return flaw.wrong


def starts(times: Times) -> list[str]:
    return [f"{each.start:%m-%d %H:%M}" for each in times.occurrences(YEAR)]


def announcement(times: Times, **other: object) -> Announcement:
    return replace(
        Announcement("main", MaintenanceKind.CUSTOMER, times, NOW, "disks; new, and \\ old", "root", NOW, "a@mx2"),
        **other,  # type: ignore[arg-type]
    )


# In -----------------------------------------------------------------------------------------------------------------


def test_an_event_of_a_time_zone_is_at_its_hour_there() -> None:
    event = one(
        "UID:1\nDTSTART;TZID=Europe/Prague:20261203T220000\nDTEND;TZID=Europe/Prague:20261203T233000\nSUMMARY:Disks"
    )
    assert (event.times.start, event.times.length) == (datetime(2026, 12, 3, 21, tzinfo=UTC), 1.5 * HOUR)
    assert (event.reason, event.times.time_zone, event.kind) == ("Disks", "Europe/Prague", None)


def test_outlooks_name_of_a_time_zone_is_known_and_summer_time_goes_by_it() -> None:
    event = one(
        "UID:1\nDTSTART;TZID=W. Europe Standard Time:20261022T220000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=2",
        before=OUTLOOK_ZONE,
    )
    assert event.times.time_zone == "Europe/Berlin"
    assert starts(event.times) == ["10-22 20:00", "10-29 21:00"]


def test_a_time_without_a_zone_is_by_the_clock_that_was_named() -> None:
    assert one("UID:1\nDTSTART:20261203T220000\nDURATION:PT1H", "Europe/Prague").times.start.hour == 21


def test_a_whole_day_is_that_day_by_the_clock() -> None:
    times = one("UID:1\nDTSTART;VALUE=DATE:20261025", "Europe/Prague").times
    assert times.interval(times.start).length == 25 * HOUR
    assert one("UID:1\nDTSTART;VALUE=DATE:20261025\nDTEND;VALUE=DATE:20261027").times.days == 2


def test_a_window_that_was_moved_is_at_its_new_time_alone_and_one_that_was_cancelled_is_not() -> None:
    events, flaws = read(
        ics(
            "UID:1\nDTSTART:20261203T200000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=4\nEXDATE:20261224T200000Z",
            "UID:1\nRECURRENCE-ID:20261210T200000Z\nDTSTART:20261211T200000Z\nDURATION:PT2H",
            "UID:1\nRECURRENCE-ID:20261217T200000Z\nDTSTART:20261217T200000Z\nDURATION:PT1H\nSTATUS:CANCELLED",
        ),
        "UTC",
    )
    assert flaws == ()
    assert [starts(each.times) for each in events] == [["12-03 20:00"], ["12-11 20:00"]]
    assert [each.uid for each in events] == ["1", "1#20261210T200000Z"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DTSTART:20261203T220000Z\nDURATION:PT1H", "it has no UID"),
        ("UID:1\nDURATION:PT1H", "it wants one DTSTART"),
        ("UID:1\nDTSTART:20261203T220000Z", "neither DTEND nor DURATION"),
        ("UID:1\nDTSTART:20261203T220000Z\nDTEND:20261203T220000Z", "more than nothing"),
        ("UID:1\nDTSTART:20261203T220000Z\nDTEND:20271203T220000Z", "at most 31 days"),
        ("UID:1\nDTSTART:20261203T220000Z\nDURATION:PT1H\nRRULE:FREQ=MINUTELY", "more often than maintenance can be"),
        ("UID:1\nDTSTART:20261203T220000Z\nDURATION:PT1H\nRRULE:FREQ=NEVER", "RRULE"),
        (
            "UID:1\nDTSTART:20261203T220000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;BYDAY=FR",
            "is none of FREQ=WEEKLY;BYDAY=FR",
        ),
        ("UID:1\nDTSTART;TZID=Nowhere:20261203T220000\nDURATION:PT1H", "nobody knows the time zone Nowhere"),
        ("UID:1\nDTSTART:20261203T220000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY", "more than one RRULE"),
        ("UID:1\nDTSTART:20261203T220000Z\nDURATION:PT1H\nRECURRENCE-ID;RANGE=THISANDFUTURE:20261203T220000Z", "RANGE"),
        ("UID:1\nDTSTART:20261203T220000Z\nDURATION:PT1H\nSEQUENCE:first", "SEQUENCE"),
    ],
)
def test_an_event_that_cannot_be_taken_says_why(text: str, said: str) -> None:
    assert said in wrong(text)


def test_one_event_that_is_wrong_does_not_keep_the_others_out() -> None:
    good = "UID:2\nDTSTART:20261203T220000Z\nDURATION:PT1H"
    events, flaws = read(ics("UID:1\nDTSTART:20261203T220000Z", good, good), "UTC")
    assert [each.uid for each in events] == ["2"]
    assert [(each.event, each.wrong[:20]) for each in flaws] == [
        ("1", "it has neither DTEND"),
        ("2", "its UID stands twice"),
    ]


@pytest.mark.parametrize(
    "octets", [b"", b"junk", b"\xff\xfe", b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", b"END:VEVENT\r\n"]
)
def test_what_is_no_calendar_is_refused_or_has_no_events(octets: bytes) -> None:
    try:
        assert read(octets, "UTC")[0] == ()
    except ValueError as error:
        assert "it is no calendar" in str(error)


LINES = st.sampled_from(
    [
        *(
            "BEGIN:VCALENDAR",
            "END:VCALENDAR",
            "BEGIN:VEVENT",
            "END:VEVENT",
            "BEGIN:VTIMEZONE",
            "END:VTIMEZONE",
            "UID:1",
        ),
        *("DTSTART:20261203T220000Z", "DTSTART;VALUE=DATE:20261203", "DTSTART;TZID=X:00010101T000000", "DTSTART:x"),
        *(
            "DTEND:99991231T235959",
            "DURATION:P1D",
            "DURATION:-PT1H",
            "RRULE:FREQ=DAILY",
            "RRULE:FREQ=",
            "RRULE:",
            "TZID:X",
        ),
        *("EXDATE:20261203", "EXDATE:x", "RDATE;VALUE=PERIOD:20261203T220000Z/PT1H", "RECURRENCE-ID:20261203T220000Z"),
        *("SEQUENCE:-1", "STATUS:CANCELLED", "CATEGORIES:customer", "X-FALLBACK-MX-ANNOUNCED:soon", "SUMMARY:\x00"),
    ]
)


@given(st.lists(LINES, max_size=14), st.booleans())
@example(["TZID:X", "END:VTIMEZONE"], True)  # icalendar looks for what only a time zone has
def test_any_lines_are_events_or_flaws_or_no_calendar(lines: list[str], is_wrapped: bool) -> None:
    text = "\r\n".join(lines)
    try:
        read(ics(text) if is_wrapped else text.encode(), "Europe/Prague")
    except ValueError as error:
        assert str(error).startswith("it is ")


# Out ----------------------------------------------------------------------------------------------------------------


@given(
    zone=st.sampled_from(["UTC", "Europe/Prague", "America/New_York"]),
    start=st.integers(0, 300 * 24 * 60).map(lambda minutes: YEAR.start + timedelta(minutes=minutes)),
    rule=st.sampled_from(["", "FREQ=WEEKLY", "FREQ=DAILY;COUNT=5", "FREQ=WEEKLY;INTERVAL=2;UNTIL=20270301T000000Z"]),
    days=st.integers(0, 2),
    minutes=st.integers(1, 600),
)
def test_what_is_written_is_read_as_the_same_windows(
    zone: str, start: datetime, rule: str, days: int, minutes: int
) -> None:
    made = announcement(Times(start, zone, days, timedelta(minutes=minutes), rule))
    assume("UNTIL" not in rule or start <= datetime(2027, 3, 1, tzinfo=UTC))  # without a window it is refused
    if rule and start.astimezone(ZoneInfo(zone)).fold:
        return  # a calendar cannot say which of two equal hours a series begins in
    (event,), flaws = read(calendar([Entry(1, made)], NOW), "UTC")
    assert flaws == ()
    assert event.times.occurrences(YEAR) == made.times.occurrences(YEAR)
    assert (event.uid, event.reason, event.kind, event.announced_at) == ("a@mx2", made.reason, made.kind, NOW)


WEEKLY = Times(datetime(2026, 11, 5, 20, tzinfo=UTC), "UTC", 0, HOUR, "FREQ=WEEKLY;COUNT=6")


def test_what_was_cancelled_is_not_in_the_calendar_that_others_read() -> None:
    skipped = Cancellation(NOW, WEEKLY.start + timedelta(28), "holiday", "root", NOW)
    ended = Cancellation(WEEKLY.start + timedelta(35), None, "done", "root", NOW)
    (event,), _ = read(calendar([Entry(1, announcement(WEEKLY), (skipped, ended))], NOW), "UTC")
    assert starts(event.times) == ["11-05 20:00", "11-12 20:00", "11-19 20:00", "11-26 20:00"]
    assert (event.is_cancelled, event.sequence) == (False, 2)


def test_what_never_came_is_told_as_cancelled() -> None:
    ended = Cancellation(WEEKLY.start, None, "done", "root", NOW)
    (event,), _ = read(calendar([Entry(1, announcement(WEEKLY), (ended,))], NOW), "UTC")
    assert event.is_cancelled


def test_a_calendar_names_no_author() -> None:
    assert b"carol" not in calendar([Entry(1, announcement(WEEKLY, author="carol"))], NOW)


# Again --------------------------------------------------------------------------------------------------------------


def event(sequence: int = 0, *, start: datetime = WEEKLY.start, is_cancelled: bool = False) -> Event:
    return Event("a", sequence, replace(WEEKLY, start=start), "disks", None, None, is_cancelled)


def recorded(made: Changes) -> tuple[Entry, ...]:
    return tuple(Entry(number, each) for number, each in enumerate(made.added, 1))


def test_a_calendar_that_is_read_again_changes_nothing() -> None:
    first = changes([event()], [], TERMS)
    assert len(first.added) == 1
    again = changes([event()], recorded(first), TERMS)
    assert (again.added, again.cancelled, again.unchanged) == ([], [], 1)


def test_an_event_that_has_changed_is_announced_anew_and_the_old_one_cancelled_from_now_on() -> None:
    before = recorded(changes([event()], [], TERMS))
    made = changes([event(1, start=WEEKLY.start + timedelta(7))], before, TERMS)
    assert [each.times.start for each in made.added] == [WEEKLY.start + timedelta(7)]
    assert [(number, each.since, each.start) for number, each in made.cancelled] == [(1, NOW, None)]


def test_an_older_version_of_an_event_is_left_alone() -> None:
    before = recorded(changes([event(5)], [], TERMS))
    made = changes([event(4, start=NOW), event(3, is_cancelled=True)], before, TERMS)
    assert (made.added, made.cancelled, made.outdated) == ([], [], ["a", "a"])


def test_what_the_calendar_cancels_is_cancelled_once() -> None:
    before = recorded(changes([event()], [], TERMS))
    made = changes([event(1, is_cancelled=True)], before, TERMS)
    ((number, cancellation),) = made.cancelled
    assert (number, cancellation.since) == (1, NOW)
    cancelled = [replace(before[0], cancellations=(cancellation,))]
    assert changes([event(1, is_cancelled=True)], cancelled, TERMS).cancelled == []


def test_what_was_cancelled_here_does_not_come_back_with_the_same_calendar() -> None:
    (before,) = recorded(changes([event()], [], TERMS))
    cancelled = replace(before, cancellations=(Cancellation(NOW, None, "no", "root", NOW),))
    assert changes([event()], [cancelled], TERMS).added == []
