"""Unknown time and its causes."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.outages.gaps import Cause, Gap, Unknown, gap, unknown
from fallback_mx.sla.intervals import Interval, total, union

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

# How long an example takes is no property of the code.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def interval(start: float, end: float) -> Interval:
    return Interval(NOON + timedelta(minutes=start), NOON + timedelta(minutes=end))


def because(start: float, end: float, cause: Cause, gap_id: str = "G") -> Gap:
    return gap(gap_id, "main", "mx2", interval(start, end), cause)


PERIOD = interval(0, 60)


def test_time_that_was_watched_is_not_unknown() -> None:
    assert unknown(PERIOD, (PERIOD,), [because(10, 20, Cause.OFF)]) == ()


def test_time_that_nobody_watched_is_unknown_and_has_the_cause_that_was_noted() -> None:
    found = unknown(PERIOD, (interval(0, 10), interval(30, 60)), [because(10, 20, Cause.CUT_OFF)])
    assert found == (Unknown(interval(10, 20), Cause.CUT_OFF), Unknown(interval(20, 30)))


def test_of_two_causes_the_one_that_speaks_of_less_time_has_it() -> None:
    gaps = [because(-500, 500, Cause.CLOCK, "A"), because(10, 20, Cause.CUT_OFF, "B")]
    assert [(each.interval, each.cause) for each in unknown(PERIOD, (), gaps)] == [
        (interval(0, 10), Cause.CLOCK),
        (interval(10, 20), Cause.CUT_OFF),
        (interval(20, 60), Cause.CLOCK),
    ]


def test_an_unknown_time_says_why_in_words() -> None:
    assert Unknown(PERIOD).words == "nobody watched"
    assert Unknown(PERIOD, Cause.CUT_OFF, "no control answers").words == (
        "we were cut off from the network: no control answers"
    )


def test_every_cause_has_its_words() -> None:
    assert len({cause.words for cause in Cause}) == len(Cause)


def test_a_gap_grows_and_never_shrinks() -> None:
    one = because(0, 10, Cause.OFF)
    assert one.until(interval(0, 20).end).interval == interval(0, 20)
    assert one.until(interval(0, 5).end) == one


minutes = st.integers(-20, 80)
intervals = st.builds(lambda one, other: interval(min(one, other), max(one, other)), minutes, minutes)
gaps = st.builds(
    lambda period, cause, number: gap(str(number), "main", "mx2", period, cause),
    intervals,
    st.sampled_from(Cause),
    st.integers(),
)


@untimed
@given(st.lists(intervals, max_size=6), st.lists(gaps, max_size=6))
def test_the_unknown_pieces_are_exactly_the_time_that_was_not_watched(watched: list[Interval], why: list[Gap]) -> None:
    seen = union(watched)
    pieces = unknown(PERIOD, seen, why)
    for second in range(0, 3600, 30):
        at = NOON + timedelta(seconds=second)
        inside = [piece for piece in pieces if piece.interval.start <= at < piece.interval.end]
        assert len(inside) == (not any(each.start <= at < each.end for each in seen))
        noted = {each.cause for each in why if each.interval.start <= at < each.interval.end}
        assert all((piece.cause in noted) if noted else piece.cause is None for piece in inside)
    assert sum((piece.interval.length for piece in pieces), timedelta()) == total(piece.interval for piece in pieces)
