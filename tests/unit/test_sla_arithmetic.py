"""The arithmetic of a settlement, held against a count that knows no intervals: every second, and every moment at which
anything begins or ends. FAULTS 47 and 48."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.sla.agreement import (
    Agreement,
    Allowance,
    Denominator,
    Rounding,
    ScheduledMaintenance,
    StandingWindows,
    Weekly,
)
from fallback_mx.sla.days import month_of
from fallback_mx.sla.exclusions import Annotation, Category
from fallback_mx.sla.intervals import Interval, intersection, union
from fallback_mx.sla.parts import Parts, divide
from fallback_mx.sla.reports import Report
from fallback_mx.sla.settling import History, Settlement, settle
from fallback_mx.sla.windows import MaintenanceKind, Window
from tests.fakes.settled import KERIO

SECOND = timedelta(seconds=1)
ZONES = [
    ZoneInfo(name) for name in ("UTC", "Europe/Prague", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
]
# Thursday. The weekly window opens a minute later, and all that is long is a few seconds here.
START = datetime(2026, 10, 22, 19, 59, tzinfo=UTC)
SECONDS = 150
KINDS = ("maintenance", "excluded", "unknown", "down", "up")

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def in_some_zone(start: datetime, end: datetime) -> st.SearchStrategy[Interval]:
    return st.sampled_from(ZONES).map(lambda zone: Interval(start.astimezone(zone), end.astimezone(zone)))


def at_seconds(longest: int) -> st.SearchStrategy[Interval]:
    pairs = st.tuples(st.integers(-40, SECONDS + 40), st.integers(0, longest))
    return pairs.flatmap(lambda pair: in_some_zone(START + pair[0] * SECOND, START + sum(pair) * SECOND))


def within(month: Interval) -> st.SearchStrategy[Interval]:
    day = timedelta(days=1)
    moments = st.datetimes(
        (month.start - day).replace(tzinfo=None), (month.end + day).replace(tzinfo=None), timezones=st.just(UTC)
    )
    return st.tuples(moments, moments).flatmap(lambda pair: in_some_zone(min(pair), max(pair)))


@st.composite
def histories(draw: st.DrawFn, intervals: st.SearchStrategy[Interval]) -> History:
    outages = tuple(draw(st.lists(intervals, max_size=6)))
    known = union(draw(st.lists(intervals, max_size=6)))
    windows = tuple(
        Window(interval, draw(st.sampled_from(MaintenanceKind)), None, "disk", "root")
        for interval in draw(st.lists(intervals, max_size=5))
    )
    made = [
        Annotation(f"A{number}", "main", interval, draw(st.sampled_from(Category)), "because", "root", START)
        for number, interval in enumerate(draw(st.lists(intervals, max_size=5)))
    ]
    withdrawn = draw(st.lists(st.sampled_from(made), max_size=2)) if made else []
    made += [replace(one, id=f"W{number}", withdraws=one.id) for number, one in enumerate(withdrawn)]
    reports = tuple(
        Report("main", interval, "carol", interval.start + draw(st.timedeltas(-timedelta(days=1), timedelta(days=9))))
        for interval in draw(st.lists(intervals, max_size=4))
    )
    return History(union(outages), intersection(union(outages), known), known, windows, tuple(made), reports)


@st.composite
def agreements(draw: st.DrawFn, longest: timedelta, at: time) -> Agreement:
    return replace(
        KERIO,
        longest_maintenance=longest,
        weekly=(Weekly("here", 3, at), Weekly("there", 4, at)),
        excluded=frozenset(draw(st.sets(st.sampled_from(Category)))),
        standing_windows=draw(st.sampled_from(StandingWindows)),
        scheduled_maintenance=draw(st.sampled_from(ScheduledMaintenance)),
        denominator=draw(st.sampled_from(Denominator)),
        allowance=draw(st.sampled_from(Allowance)),
        rounding=draw(st.sampled_from(Rounding)),
        decimals=draw(st.integers(0, 6)),
    )


months = st.builds(month_of, st.integers(2024, 2031), st.integers(1, 12), st.sampled_from(ZONES))
anywhere = months.flatmap(lambda month: st.tuples(st.just(month), histories(within(month))))
usual = agreements(timedelta(hours=1), time(20))


# A count without intervals --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """Says of one moment what it is."""

    agreement: Agreement
    history: History

    def kind(self, moment: datetime) -> str:
        if self._in_maintenance(moment):
            return "maintenance"
        if any(covers(one.interval, moment) for one in self._annotations()):
            return "excluded"
        if not any(covers(one, moment) for one in self.history.known):
            return "unknown"
        return "down" if any(covers(one, moment) for one in self.history.outages) else "up"

    def _in_maintenance(self, moment: datetime) -> bool:
        agreement, windows = self.agreement, self.history.windows
        in_weekly = self._in_weekly(moment)
        recorded = any(covers(one.interval, moment) for one in windows if one.kind != "scheduled")
        scheduled = any(
            moment < self._start_of_run(one) + agreement.longest_maintenance
            for one in windows
            if one.kind == "scheduled" and covers(one.interval, moment)
        )
        if agreement.scheduled_maintenance is ScheduledMaintenance.WEEKLY:
            scheduled = scheduled and in_weekly
        return recorded or scheduled or (in_weekly and agreement.standing_windows is StandingWindows.ALWAYS)

    def _in_weekly(self, moment: datetime) -> bool:
        opens = self.agreement.weekly[0].at
        latest = moment.replace(hour=opens.hour, minute=opens.minute, second=0, microsecond=0)
        days = [latest - timedelta(days=ago) for ago in range(8)]
        return any(day.weekday() == 3 and day <= moment < day + self.agreement.longest_maintenance for day in days)

    def _start_of_run(self, window: Window) -> datetime:
        """Back through every scheduled window that ends no sooner than the next begins."""
        start = window.interval.start
        earlier = [one.interval for one in self.history.windows if one.kind == "scheduled"]
        while reaching := [one.start for one in earlier if one.start < start <= one.end]:
            start = min(reaching)
        return start

    def _annotations(self) -> list[Annotation]:
        withdrawn = {one.withdraws for one in self.history.annotations}
        return [
            one
            for one in self.history.annotations
            if one.withdraws is None and one.id not in withdrawn and one.category in self.agreement.excluded
        ]


def covers(interval: Interval, moment: datetime) -> bool:
    return interval.start <= moment < interval.end


def counted(count: Count, moments: Iterable[tuple[datetime, timedelta]]) -> Parts:
    parts = dict.fromkeys(KINDS, timedelta(0))
    for moment, length in moments:
        parts[count.kind(moment)] += length
    return Parts(**parts)


def settled(agreement: Agreement, period: Interval, history: History, **given: Any) -> Settlement:
    return settle(agreement, "here", given.get("month", period), period, history, ZoneInfo("Europe/Prague"))


# What must hold -------------------------------------------------------------------------------------------------


@untimed
@given(agreements(timedelta(seconds=20), time(20)), histories(at_seconds(60)))
def test_the_parts_are_what_counting_every_second_gives(agreement: Agreement, history: History) -> None:
    found = settled(agreement, Interval(START, START + SECONDS * SECOND), history).division.parts
    assert found == counted(Count(agreement, history), ((START + n * SECOND, SECOND) for n in range(SECONDS)))


@untimed
@given(usual, anywhere)
def test_a_months_parts_are_what_every_moment_of_change_gives(
    agreement: Agreement, month_and_history: tuple[Interval, History]
) -> None:
    month, history = month_and_history
    edges = {month.start, month.end}
    for interval in (*history.outages, *history.known, *(one.interval for one in history.windows)):
        edges |= {interval.start, interval.end, interval.start + timedelta(hours=1)}
    for annotation in history.annotations:
        edges |= {annotation.interval.start, annotation.interval.end}
    for day in range(-1, 34):
        opens = (month.start + timedelta(days=day)).replace(hour=20, minute=0)
        edges |= {opens, opens + timedelta(hours=1)}
    inside = sorted(edge for edge in edges if month.start <= edge <= month.end)
    lengths = ((start, end - start) for start, end in pairwise(inside))
    found = settled(agreement, month, history).division.parts
    assert found == counted(Count(agreement, history), lengths)


@untimed
@given(usual, anywhere)
def test_the_parts_add_up_to_the_period(agreement: Agreement, month_and_history: tuple[Interval, History]) -> None:
    month, history = month_and_history
    assert settled(agreement, month, history).division.parts.total == month.length


@untimed
@given(usual, anywhere, st.data())
def test_a_month_is_its_two_halves_together(
    agreement: Agreement, month_and_history: tuple[Interval, History], data: st.DataObject
) -> None:
    month, history = month_and_history
    middle = month.start + data.draw(st.timedeltas(timedelta(0), month.length))
    whole = settled(agreement, month, history)
    first, second = (
        settled(agreement, half, history, month=month)
        for half in (Interval(month.start, middle), Interval(middle, month.end))
    )
    assert whole.division.parts == first.division.parts + second.division.parts
    assert whole.raw.counted == first.raw.counted + second.raw.counted
    assert whole.settled.counted == first.settled.counted + second.settled.counted


@untimed
@given(usual, anywhere)
def test_uptime_is_never_negative_nor_over_a_hundred_and_bounds_are_in_order(
    agreement: Agreement, month_and_history: tuple[Interval, History]
) -> None:
    month, history = month_and_history
    settlement = settled(agreement, month, history)
    for figure in (settlement.raw, settlement.settled):
        assert 0 <= figure.lowest_percent <= figure.percent <= 100
    assert settlement.raw.percent <= settlement.settled.percent
    assert 0 <= settlement.verdict.credit <= settlement.verdict.lowest_credit <= 100


@untimed
@given(usual, anywhere)
def test_a_proportional_allowance_is_broken_exactly_if_uptime_is_below_the_target(
    agreement: Agreement, month_and_history: tuple[Interval, History]
) -> None:
    month, history = month_and_history
    settlement = settled(replace(agreement, allowance=Allowance.PROPORTIONAL), month, history)
    assert settlement.verdict.breach == (settlement.settled.percent < agreement.target)


@untimed
@given(anywhere)
def test_less_known_never_means_more_counted(month_and_history: tuple[Interval, History]) -> None:
    month, history = month_and_history
    known = settled(KERIO, month, history).division.parts
    blind = divide(month, down=history.outages).parts
    assert blind == Parts(unknown=month.length)
    assert known.down <= sum((outage.length for outage in union(history.outages)), timedelta(0))


def test_a_weekly_window_as_long_as_a_week_leaves_no_time() -> None:
    agreement = replace(KERIO, longest_maintenance=timedelta(days=7), weekly=(Weekly("here", 3, time(23, 30)),))
    for day in range(8):
        period = Interval(START + timedelta(days=day), START + timedelta(days=day, hours=1))
        assert settled(agreement, period, History()).division.parts == Parts(maintenance=period.length)
