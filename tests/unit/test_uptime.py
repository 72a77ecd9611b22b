"""Interval arithmetic and the figures of a period, held against counting every second."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.sla.intervals import Interval, difference, intersection, total, union, within
from fallback_mx.sla.uptime import Uptime, figures

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LENGTH = 60

# How long an example takes is no property of the code.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def moment(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def span(start: float, end: float) -> Interval:
    return Interval(moment(start), moment(end))


def seconds(uptime: Uptime) -> tuple[float, float, float]:
    return tuple(part / timedelta(seconds=1) for part in (uptime.up, uptime.down, uptime.unknown))  # type: ignore


def covers(intervals: list[Interval]) -> Callable[[int], bool]:
    """Whether any of them covers the second that begins here."""
    return lambda second: any(each.start <= moment(second) < each.end for each in intervals)


spans = st.lists(
    st.tuples(st.integers(-20, LENGTH + 20), st.integers(0, 40)).map(lambda pair: span(pair[0], pair[0] + pair[1])),
    max_size=8,
)
exact = st.lists(
    st.tuples(st.integers(-(10**7), 10**8), st.integers(0, 10**8)).map(
        lambda pair: Interval(NOON + timedelta(microseconds=pair[0]), NOON + timedelta(microseconds=pair[0] + pair[1]))
    ),
    max_size=8,
)

# Intervals ------------------------------------------------------------------------------------------------------


def test_an_interval_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="ends before it starts"):
        span(1, 0)


def test_an_interval_wants_aware_datetimes() -> None:
    with pytest.raises(ValueError, match="aware"):
        Interval(datetime(2026, 3, 1), moment(1))  # noqa: DTZ001


def test_a_day_without_its_summer_time_hour_has_twenty_three() -> None:
    prague = ZoneInfo("Europe/Prague")
    day = Interval(datetime(2026, 3, 29, tzinfo=prague), datetime(2026, 3, 30, tzinfo=prague))
    assert day.length == timedelta(hours=23)


@pytest.mark.parametrize(
    ("given_ones", "expected"),
    [
        ([], ()),
        ([span(3, 3)], ()),
        ([span(5, 9), span(1, 2)], (span(1, 2), span(5, 9))),
        ([span(1, 5), span(3, 9)], (span(1, 9),)),
        ([span(1, 5), span(5, 9)], (span(1, 9),)),
        ([span(1, 9), span(3, 5)], (span(1, 9),)),
    ],
)
def test_union_sorts_and_merges(given_ones: list[Interval], expected: tuple[Interval, ...]) -> None:
    assert union(given_ones) == expected


def test_intervals_that_touch_share_no_time() -> None:
    assert intersection([span(1, 5)], [span(5, 9)]) == ()


@untimed
@given(spans, spans)
def test_union_and_intersection_agree_with_every_second(one: list[Interval], other: list[Interval]) -> None:
    in_one, in_other = covers(one), covers(other)
    in_union, in_both = covers(list(union(one, other))), covers(list(intersection(one, other)))
    for second in range(-20, LENGTH + 60):
        assert in_union(second) == (in_one(second) or in_other(second))
        assert in_both(second) == (in_one(second) and in_other(second))


@untimed
@given(exact, exact)
def test_what_two_cover_is_what_each_does_less_what_both_do(one: list[Interval], other: list[Interval]) -> None:
    assert total(union(one, other)) == total(one) + total(other) - total(intersection(one, other))


# Figures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down", "watched", "expected"),
    [
        ([], [], (0, 0, 60)),
        ([], [span(0, 60)], (60, 0, 0)),
        ([span(10, 20)], [span(0, 60)], (50, 10, 0)),
        ([span(10, 20)], [], (0, 0, 60)),
        ([span(10, 30)], [span(0, 20)], (10, 10, 40)),
        ([span(-50, 5)], [span(-100, 60)], (55, 5, 0)),
        ([span(50, 500)], [span(0, 55)], (50, 5, 5)),
        ([span(10, 20), span(15, 25)], [span(0, 60)], (45, 15, 0)),
        ([span(10, 20)], [span(0, 40), span(5, 60)], (50, 10, 0)),
        ([span(60, 70)], [span(0, 60)], (60, 0, 0)),
    ],
)
def test_the_figures_of_a_minute(
    down: list[Interval], watched: list[Interval], expected: tuple[float, float, float]
) -> None:
    assert seconds(figures(span(0, LENGTH), down, watched)) == expected


@untimed
@given(spans, spans)
def test_the_figures_are_those_of_counting_every_second(down: list[Interval], watched: list[Interval]) -> None:
    is_down, is_watched = covers(down), covers(watched)
    counted = {"up": 0, "down": 0, "unknown": 0}
    for second in range(LENGTH):
        counted["unknown" if not is_watched(second) else "down" if is_down(second) else "up"] += 1
    assert seconds(figures(span(0, LENGTH), down, watched)) == tuple(counted.values())


@untimed
@given(exact, exact, st.integers(0, 10**8))
def test_the_parts_add_up_to_the_period_to_the_microsecond(
    down: list[Interval], watched: list[Interval], length: int
) -> None:
    period = Interval(NOON, NOON + timedelta(microseconds=length))
    uptime = figures(period, down, watched)
    assert uptime.up + uptime.down + uptime.unknown == period.length
    assert min(uptime.up, uptime.down, uptime.unknown) >= timedelta(0)


@untimed
@given(exact, exact, st.integers(0, 60 * 10**6))
def test_two_halves_of_a_period_make_the_whole(down: list[Interval], watched: list[Interval], cut: int) -> None:
    middle = NOON + timedelta(microseconds=cut)
    whole = figures(span(0, LENGTH), down, watched)
    first = figures(Interval(NOON, middle), down, watched)
    second = figures(Interval(middle, moment(LENGTH)), down, watched)
    assert (whole.up, whole.down) == (first.up + second.up, first.down + second.down)


def test_availability_is_the_share_of_the_watched_time() -> None:
    assert figures(span(0, 60), [span(10, 20)], [span(0, 40)]).availability == Fraction(3, 4)


def test_availability_of_a_time_that_nobody_watched_is_not_known() -> None:
    assert figures(span(0, 60), [span(10, 20)], []).availability is None


def test_a_microsecond_of_a_month_still_shows_in_the_availability() -> None:
    month = Interval(NOON, NOON + timedelta(days=31))
    blink = Interval(NOON, NOON + timedelta(microseconds=1))
    availability = figures(month, [blink], [month]).availability
    assert availability is not None
    assert availability < 1


@untimed
@given(spans, spans)
def test_what_one_covers_and_the_other_does_not_agrees_with_every_second(
    one: list[Interval], other: list[Interval]
) -> None:
    in_one, in_other = covers(one), covers(other)
    in_difference = covers(list(difference(one, other)))
    for second in range(-20, LENGTH + 60):
        assert in_difference(second) == (in_one(second) and not in_other(second))


@untimed
@given(spans, st.integers(-30, LENGTH), st.integers(1, 40))
def test_the_members_within_a_period_are_those_that_share_time_with_it(
    some: list[Interval], start: int, length: int
) -> None:
    period = span(start, start + length)
    members = union(some)
    assert within(members, period) == tuple(one for one in members if intersection([one], [period]))
