"""Maintenance: what rules come to across changes of the clock, what is left after cancellations, and late notice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.maintenance.announcement import EVERY_PRIMARY, Announcement, Cancellation, Entry, Times, check
from fallback_mx.maintenance.recurrence import parse
from fallback_mx.maintenance.windows import Upkeep, is_late, settled_windows, upkeep, windows_of
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.windows import MaintenanceKind, Window

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PRAGUE = ZoneInfo("Europe/Prague")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def period(start: str, end: str) -> Interval:
    return Interval(utc(start), utc(end))


def prague(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PRAGUE).astimezone(UTC)


def times(
    start: datetime, rule: str = "", zone: str = "Europe/Prague", length: timedelta = HOUR, days: int = 0
) -> Times:
    return Times(start, zone, days, length, rule)


def starts(one: Times, of: Interval) -> list[str]:
    return [f"{each.start:%m-%d %H:%M}" for each in one.occurrences(of)]


def announcement(one: Times, **other: object) -> Announcement:
    values: dict[str, object] = {
        "primary": "main",
        "kind": MaintenanceKind.SCHEDULED,
        "announced_at": one.start - 3 * DAY,
        "reason": "disks",
        "author": "root",
        "recorded_at": one.start - 3 * DAY,
        "uid": "1@mx2",
    }
    return Announcement(times=one, **(values | other))  # type: ignore[arg-type]


# Rules and the clock ------------------------------------------------------------------------------------------------


def test_a_weekly_window_keeps_its_hour_by_the_clock_when_summer_time_ends() -> None:
    one = times(prague("2026-10-15T22:00"), "FREQ=WEEKLY;BYDAY=TH")
    assert starts(one, period("2026-10-14", "2026-11-07")) == [
        *("10-15 20:00", "10-22 20:00"),
        *("10-29 21:00", "11-05 21:00"),
    ]


def test_a_time_that_the_clocks_skip_is_read_by_the_offset_before() -> None:
    # 02:30 does not exist on 29 March 2026; with +01:00 it is 01:30 UTC, 03:30 by the new clock.
    one = times(prague("2026-03-28T02:30"), "FREQ=DAILY;COUNT=3")
    assert starts(one, period("2026-03-27", "2026-04-02")) == ["03-28 01:30", "03-29 01:30", "03-30 00:30"]


def test_a_time_that_comes_twice_is_its_first() -> None:
    # 02:30 comes at 00:30 and at 01:30 UTC on 25 October 2026.
    one = times(prague("2026-10-24T02:30"), "FREQ=DAILY;COUNT=3")
    assert starts(one, period("2026-10-23", "2026-10-28")) == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_a_first_window_that_was_given_in_the_second_of_two_equal_hours_stays_there() -> None:
    one = times(utc("2026-10-25T01:30"), "FREQ=DAILY;COUNT=2")
    assert starts(one, period("2026-10-23", "2026-10-28")) == ["10-25 01:30", "10-26 01:30"]


def test_a_day_by_the_clock_has_25_hours_when_the_clocks_go_back_and_24_hours_are_24() -> None:
    start = prague("2026-10-24T22:00")
    of = period("2026-10-24", "2026-10-27")
    assert times(start, days=1, length=timedelta(0)).occurrences(of)[0].length == 25 * HOUR
    assert times(start, length=24 * HOUR).occurrences(of)[0].length == 24 * HOUR


def test_until_in_utc_is_the_last_moment_at_which_a_window_may_begin() -> None:
    one = times(prague("2026-10-15T22:00"), "FREQ=WEEKLY;UNTIL=20261022T200000Z")
    assert starts(one, period("2026-10-01", "2027-10-01")) == ["10-15 20:00", "10-22 20:00"]
    one = times(prague("2026-10-15T22:00"), "FREQ=WEEKLY;UNTIL=20261022T195959Z")
    assert starts(one, period("2026-10-01", "2027-10-01")) == ["10-15 20:00"]


def test_until_a_day_is_the_whole_of_that_day_by_the_clock() -> None:
    one = times(prague("2026-10-15T23:30"), "FREQ=WEEKLY;UNTIL=20261022")
    assert starts(one, period("2026-10-01", "2027-10-01")) == ["10-15 21:30", "10-22 21:30"]


def test_what_is_left_out_and_what_is_added_is_so_by_its_start() -> None:
    start = utc("2026-11-05T20:00")
    one = Times(start, "UTC", 0, HOUR, "FREQ=WEEKLY", extra=(start + DAY,), without=(start + 7 * DAY,))
    assert starts(one, period("2026-11-01", "2026-11-20")) == ["11-05 20:00", "11-06 20:00", "11-19 20:00"]


def test_a_window_over_the_start_of_a_period_is_in_it_whole() -> None:
    one = times(utc("2026-10-31T23:30"), zone="UTC")
    assert one.occurrences(period("2026-11-01", "2026-12-01")) == (period("2026-10-31T23:30", "2026-11-01T00:30"),)
    assert one.occurrences(period("2026-11-01T00:30", "2026-12-01")) == ()


@given(
    zone=st.sampled_from(["UTC", "Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
    start=st.integers(0, 4 * 366 * 24 * 60).map(
        lambda minutes: (utc("2009-01-01") + timedelta(minutes=minutes)).replace(tzinfo=None)
    ),
    rule=st.sampled_from(
        ["FREQ=DAILY", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY", "FREQ=DAILY;COUNT=400", "FREQ=DAILY;UNTIL=20111230"]
    ),
    after=st.integers(0, 900),
    width=st.integers(1, 60),
    cut=st.floats(0, 1),
)
def test_a_period_cut_in_two_has_the_windows_of_its_halves_and_each_is_at_its_hour_by_the_clock(
    zone: str, start: datetime, rule: str, after: int, width: int, cut: float
) -> None:
    first = start.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    one = times(first, rule, zone, length=timedelta(minutes=50))
    whole = Interval(first + after * DAY, first + (after + width) * DAY)
    middle = whole.start + cut * whole.length
    halves = {*one.occurrences(Interval(whole.start, middle)), *one.occurrences(Interval(middle, whole.end))}
    found = one.occurrences(whole)
    assert set(found) == halves
    assert list(found) == sorted(found)
    for each in found:
        local = each.start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        by_the_clock = datetime.combine(local.date(), start.time())
        skipped = by_the_clock.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) == each.start
        assert local.time() == start.time() or skipped


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("", "'' is no part of a rule"),
        ("BYDAY=TH", "FREQ is missing"),
        ("FREQ=HOURLY", "FREQ=HOURLY is more often than maintenance can be"),
        ("FREQ=SECONDLY;COUNT=5", "FREQ=SECONDLY is more often than maintenance can be"),
        ("FREQ=FORTNIGHTLY", "FREQ=FORTNIGHTLY is not a value"),
        ("FREQ=WEEKLY;BYEASTER=1", "BYEASTER is no part of a rule"),
        ("FREQ=WEEKLY;FREQ=DAILY", "FREQ stands twice"),
        ("FREQ=WEEKLY;BYDAY=THU", "BYDAY=THU is not a value"),
        ("FREQ=WEEKLY;BYDAY=1TH", "BYDAY=1TH has numbers"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY=0 is not a value"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY=32 is not a value"),
        ("FREQ=WEEKLY;BYMONTHDAY=3", "BYMONTHDAY does not go with FREQ=WEEKLY"),
        ("FREQ=WEEKLY;INTERVAL=0", "INTERVAL=0 is not a value"),
        ("FREQ=WEEKLY;COUNT=2;UNTIL=20270101", "UNTIL and COUNT do not go together"),
        ("FREQ=WEEKLY;UNTIL=20271301", "UNTIL=20271301 is no day or time"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS wants another BY"),
        ("FREQ=DAILY;BYMINUTE=0,5,10,15,20;BYHOUR=1,2,3,4,5", "25 times a day are more than 24"),
    ],
)
def test_a_rule_that_is_none_says_what_is_wrong_with_it(rule: str, wrong: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(rule)
    assert wrong in str(caught.value)


@given(st.text(alphabet="FREQWKLYDAIBYMONTHUNTILCOUNT=;,0123456789-+ \x00é", max_size=60))
def test_any_text_is_a_rule_or_a_value_error(text: str) -> None:
    try:
        rule = parse(text)
    except ValueError:
        return
    assert parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("one", "wrong"),
    [
        (times(prague("2026-11-04T22:00"), "FREQ=WEEKLY;BYDAY=TH"), "Wednesday 2026-11-04 22:00 is none of"),
        (
            times(prague("2026-11-04T22:00"), "FREQ=WEEKLY;BYDAY=TH"),
            "the first one after it is Thursday 2026-11-05 22:00",
        ),
        (times(utc("2026-11-04"), "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30,-31"), "BYMONTH=2 has no day 30,-31"),
        (times(utc("2026-11-04"), "FREQ=YEARLY;COUNT=3;BYMONTH=4,6;BYMONTHDAY=31"), "BYMONTH=4,6 has no day 31"),
        (times(utc("2026-11-04"), "FREQ=DAILY;UNTIL=20261103"), "does not come to a single window"),
        (times(utc("2026-11-04"), length=timedelta(0)), "more than nothing"),
        (times(utc("2026-11-04"), length=32 * DAY), "at most 31 days"),
        (times(utc("1969-11-04")), "not between 1970 and 2200"),
    ],
)
def test_times_that_are_a_mistake_are_told_so(one: Times, wrong: str) -> None:
    with pytest.raises(ValueError) as caught:
        check(one)
    assert wrong in str(caught.value)


@pytest.mark.parametrize(
    "rule", ["FREQ=DAILY", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29", "FREQ=WEEKLY", "FREQ=DAILY;COUNT=9999"]
)
def test_a_rule_without_an_end_is_expanded_no_further_than_the_period(rule: str) -> None:
    start = utc("2020-02-29T20:00")
    found = times(start, rule, "UTC").occurrences(period("2024-02-01", "2024-03-01"))
    assert all(each.end > utc("2024-02-01") and each.start < utc("2024-03-01") for each in found)
    assert found


# What stands --------------------------------------------------------------------------------------------------------

WEEKLY = Times(utc("2026-11-05T20:00"), "UTC", 0, HOUR, "FREQ=WEEKLY")
NOVEMBER = period("2026-11-01", "2026-12-01")


def cancelled(since: str, start: str | None = None) -> Cancellation:
    return Cancellation(utc(since), None if start is None else utc(start), "done", "root", utc(since))


def of(*cancellations: Cancellation, one: Announcement | None = None) -> Entry:
    return Entry(1, one or announcement(WEEKLY), cancellations)


def lengths(entry: Entry) -> list[tuple[str, float]]:
    return [(f"{each.interval.start:%d}", each.interval.length / HOUR) for each in entry.windows(NOVEMBER)]


def test_a_cancellation_leaves_what_is_over_and_ends_what_is_on() -> None:
    assert lengths(of()) == [("05", 1), ("12", 1), ("19", 1), ("26", 1)]
    assert lengths(of(cancelled("2026-11-12T20:15"))) == [("05", 1), ("12", 0.25)]
    assert lengths(of(cancelled("2026-11-12T20:00"))) == [("05", 1)]
    assert lengths(of(cancelled("2026-11-12T21:00"))) == [("05", 1), ("12", 1)]


def test_one_window_may_be_cancelled_and_the_others_stand() -> None:
    assert lengths(of(cancelled("2026-11-06", "2026-11-12T20:00"))) == [("05", 1), ("19", 1), ("26", 1)]


def test_cancelled_from_the_beginning_it_never_was() -> None:
    assert lengths(of(cancelled("1970-01-01"))) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 30 * 24 * 60), st.sampled_from([None, 5, 12, 19, 26])),
        max_size=4,
    )
)
def test_windows_after_cancellations_equal_a_count_minute_by_minute(made: list[tuple[int, int | None]]) -> None:
    begin = NOVEMBER.start
    cancellations = [
        Cancellation(
            begin + timedelta(minutes=minute),
            None if day is None else utc(f"2026-11-{day:02}T20:00"),
            "",
            "root",
            begin,
        )
        for minute, day in made
    ]
    windows = Entry(1, announcement(WEEKLY), tuple(cancellations)).windows(NOVEMBER)
    expected = 0
    for day in (5, 12, 19, 26):
        start = utc(f"2026-11-{day:02}T20:00")
        for minute in range(60):
            moment = start + timedelta(minutes=minute)
            expected += not any(each.since <= moment and each.start in (None, start) for each in cancellations)
    assert sum(each.interval.length / timedelta(minutes=1) for each in windows) == expected


def test_what_is_announced_for_every_primary_is_so_for_each() -> None:
    everyone = of(one=announcement(WEEKLY, primary=EVERY_PRIMARY))
    assert windows_of([everyone], "main", NOVEMBER) == windows_of([everyone], "other", NOVEMBER) != ()
    assert windows_of([of()], "other", NOVEMBER) == ()


def test_a_settlement_is_given_what_touches_the_windows_of_its_period() -> None:
    before = of(one=announcement(times(utc("2026-10-31T23:00"), zone="UTC")))
    first = of(one=announcement(times(utc("2026-11-01T00:00"), zone="UTC")))
    assert [each.interval.start for each in settled_windows([before, first], ["main"], NOVEMBER)["main"]] == [
        utc("2026-10-31T23:00"),
        utc("2026-11-01T00:00"),
    ]


def test_windows_that_touch_are_on_until_the_last_of_them_ends() -> None:
    first, second, third = (
        Window(period(f"2026-11-05T{start}", f"2026-11-05T{end}"), "scheduled", None, "", "root")
        for start, end in (("20:00", "21:00"), ("21:00", "22:00"), ("23:00", "23:30"))
    )
    every = [first, second, third]
    assert upkeep(every, utc("2026-11-05T19:59")) == Upkeep(next=first)
    assert upkeep(every, utc("2026-11-05T20:00")) == Upkeep(first, utc("2026-11-05T22:00"), third)
    assert upkeep(every, utc("2026-11-05T22:00")) == Upkeep(next=third)
    assert upkeep(every, utc("2026-11-05T23:30")) == Upkeep()


@pytest.mark.parametrize(
    ("kind", "notice_hours", "late"),
    [
        ("scheduled", 24, False),
        ("scheduled", 23.99, True),
        ("scheduled", -1, True),
        ("scheduled", None, True),
        ("emergency", None, False),
        ("customer", -5, False),
    ],
)
def test_scheduled_maintenance_is_late_with_less_notice_than_is_asked_for(
    kind: str, notice_hours: float | None, late: bool
) -> None:
    start = utc("2026-11-05T20:00")
    announced = None if notice_hours is None else start - notice_hours * HOUR
    window = Window(Interval(start, start + HOUR), kind, announced, "", "root")
    assert is_late(window, DAY) is late
    assert is_late(window, timedelta(0)) is False
