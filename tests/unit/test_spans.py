"""The values of the record: spans, watches, and what follows from both."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.outages.spans import MAX_DETAIL, Span, Watch, decided, down, started, state_on_record, watched
from fallback_mx.rules.health import Damping, Event, EventKind, Observation, State, step, unobserved
from fallback_mx.sla.intervals import Interval, total

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GAP = timedelta(minutes=5)

# How long an example takes is no property of the code.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def interval(start: float, end: float) -> Interval:
    return Interval(at(start), at(end))


def event(kind: EventKind, minute: float, detail: str = "") -> Event:
    return Event(kind, at(minute), "banner", detail)


def outage(start: float, end: float | None, *, node: str = "mx2", confirmed: bool = True) -> Span:
    ended_at = None if end is None else at(end)
    return Span("S", "main", node, at(start), "connect", "", at(start) if confirmed else None, None, ended_at)


def watch(start: float, end: float, node: str = "mx2") -> Watch:
    return Watch("W", "main", node, at(start), at(end))


# A span's life --------------------------------------------------------------------------------------------------


def test_a_span_begins_with_the_failure_that_started_it() -> None:
    span = started("S", "main", "mx2", Event(EventKind.STARTED, at(1), "connect", "connection refused"))
    last = {"last_failed_at": at(1), "last_failed_phase": "connect", "last_failed_detail": "connection refused"}
    assert span == replace(Span("S", "main", "mx2", at(1), "connect", "connection refused"), **last)
    assert span.is_open


def test_a_span_goes_through_confirmation_recovery_relapse_and_end() -> None:
    span = started("S", "main", "mx2", event(EventKind.STARTED, 1))
    span = span.after(event(EventKind.CONFIRMED, 3)).after(event(EventKind.RECOVERING, 5))
    assert (span.confirmed_at, span.recovering_since) == (at(3), at(5))
    span = span.after(event(EventKind.RELAPSED, 6))
    assert span.recovering_since is None
    span = span.after(event(EventKind.RECOVERING, 8)).after(event(EventKind.ENDED, 8, "250 hi"))
    assert (span.ended_at, span.recovering_since, span.end_detail) == (at(8), None, "250 hi")
    assert not span.is_open


def test_a_span_that_ended_unconfirmed_is_a_blip() -> None:
    assert outage(1, 2, confirmed=False).is_blip
    assert not outage(1, 2).is_blip
    assert not outage(1, None, confirmed=False).is_blip


def test_a_span_never_lasts_less_than_nothing() -> None:
    assert outage(5, 1).interval == interval(5, 5)


def test_what_the_primary_said_is_kept_short_and_printable() -> None:
    said = "554 \x00\udcff" + "x" * 10_000
    span = started("S", "main", "mx2", event(EventKind.STARTED, 1, said))
    ended = span.after(event(EventKind.ENDED, 2, said))
    for detail in (span.cause_detail, ended.end_detail):
        assert detail.startswith("554 \\x00\\udcff")
        assert len(detail) < MAX_DETAIL + 10


# A watch's life -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minute", "expected"),
    [
        (10, True),
        (15, True),
        (15.1, False),
        (9, True),
        (3, True),
        (0, True),
        (-0.1, False),
        (-100, False),
        (100, False),
    ],
)
def test_an_observation_belongs_to_a_watch_that_is_near_or_around_it(minute: float, expected: bool) -> None:
    assert watch(0, 10).reaches(at(minute), GAP) is expected


def test_a_clock_put_back_a_little_stays_in_a_watch_that_has_only_begun() -> None:
    assert watch(0, 0).reaches(at(-1), GAP)


def test_a_watch_grows_to_the_end_of_an_observation() -> None:
    seen = Observation(True, at(12), "ehlo", "", duration_seconds=60)
    assert watch(0, 10).extended(seen) == watch(0, 13)


def test_a_watch_never_shrinks() -> None:
    assert watch(0, 10).extended(Observation(True, at(5), "ehlo", "")) == watch(0, 10)


# What counts ----------------------------------------------------------------------------------------------------


def test_confirmed_time_that_was_watched_is_down() -> None:
    assert down([outage(10, 20)], [watch(0, 15)]) == (interval(10, 15),)


def test_a_blip_is_not_down() -> None:
    assert down([outage(10, 20, confirmed=False)], [watch(0, 60)]) == ()


def test_an_open_outage_is_down_as_far_as_it_was_watched() -> None:
    assert down([outage(10, None)], [watch(0, 30), watch(50, 60)]) == (interval(10, 30), interval(50, 60))


def test_time_since_a_failure_that_is_not_confirmed_is_undecided() -> None:
    spans = [outage(20, None, confirmed=False)]
    assert decided(spans, watched([watch(0, 30)])) == watched([watch(0, 20)])


def test_once_an_outage_is_confirmed_or_over_all_watched_time_is_decided() -> None:
    spans = [outage(5, 6, confirmed=False), outage(20, None)]
    assert decided(spans, watched([watch(0, 30)])) == watched([watch(0, 30)])


def test_an_outage_counts_only_where_its_own_node_watched() -> None:
    spans = [outage(10, None, node="dead")]
    assert down(spans, [watch(0, 20, "dead"), watch(0, 60, "alive")]) == (interval(10, 20),)


def test_time_that_two_nodes_call_down_counts_once() -> None:
    spans = [outage(10, 30, node="a"), outage(20, 40, node="b")]
    assert down(spans, [watch(0, 60, "a"), watch(0, 60, "b")]) == (interval(10, 40),)


def test_time_that_any_node_watched_is_watched() -> None:
    assert watched([watch(0, 10, "a"), watch(5, 20, "b"), watch(30, 40)]) == (interval(0, 20), interval(30, 40))


@pytest.mark.parametrize(
    ("span", "last", "expected"),
    [
        (None, None, State.UNKNOWN),
        (None, watch(-60, -6), State.UNKNOWN),
        (outage(-30, None), watch(-60, -6), State.UNKNOWN),
        (None, watch(-60, -1), State.UP),
        (outage(-1, None, confirmed=False), watch(-60, -1), State.FALLING),
        (outage(-1, None), watch(-60, -1), State.DOWN),
        (outage(-9, None).after(event(EventKind.RECOVERING, -1)), watch(-60, -1), State.RISING),
    ],
)
def test_the_state_as_the_record_tells_it(span: Span | None, last: Watch | None, expected: State) -> None:
    assert state_on_record(span, last, NOON, GAP) is expected


# Under any clock ------------------------------------------------------------------------------------------------


@untimed
@given(
    st.lists(st.tuples(st.booleans(), st.integers(-10_000, 10_000)), max_size=40),
    st.builds(Damping, rise=st.integers(1, 3), fall=st.integers(1, 3)),
)
def test_spans_are_whole_and_one_after_another_whatever_the_clock_does(
    seen: list[tuple[bool, int]], damping: Damping
) -> None:
    health, spans, ids = unobserved(NOON), dict[str, Span](), count()
    current = ""
    for good, minute in seen:
        health, events = step(health, Observation(good, at(minute), "banner", ""), damping)
        for happened in events:
            if happened.kind is EventKind.STARTED:
                assert not any(span.is_open for span in spans.values()), "a second outage began within the first"
                current = str(next(ids))
                spans[current] = started(current, "main", "mx2", happened)
            spans[current] = spans[current].after(happened)
    for span in spans.values():
        assert span.ended_at is None or span.ended_at >= span.started_at
    assert any(span.is_open for span in spans.values()) == (health.state not in {State.UP, State.UNKNOWN})


@untimed
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=6), st.integers(0, 60))
def test_down_time_is_never_more_than_the_watched_time(pairs: list[tuple[int, int, bool]], until: int) -> None:
    spans = [outage(start, start + length if over else None) for start, length, over in pairs]
    assert total(down(spans, [watch(0, until)])) <= timedelta(minutes=until)
