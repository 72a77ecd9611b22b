"""The state table of a primary's health, and what walking it records."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.rules.health import (
    TRANSITIONS,
    Damping,
    Event,
    EventKind,
    Health,
    Observation,
    Signal,
    State,
    blinded,
    resumed,
    step,
    unobserved,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOCUMENT = Path(__file__).parents[2] / "docs" / "health.md"
MARKS = {"+": True, "-": False}

# How long an example takes is no property of the code.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def observe(good: bool, minute: float, detail: str = "", seconds: float | None = None) -> Observation:
    return Observation(good, at(minute), "banner", detail, seconds)


def walk(
    marks: str, *, rise: int = 2, fall: int = 3, health: Health | None = None, first: int = 0
) -> tuple[Health, list[Event]]:
    """One observation a minute: + is a good one, - a bad one."""
    health = health or unobserved(NOON)
    events: list[Event] = []
    for minute, mark in enumerate(marks, first):
        health, more = step(health, observe(MARKS[mark], minute, f"{mark}{minute}"), Damping(rise, fall))
        events += more
    return health, events


def story(events: Sequence[Event]) -> list[tuple[str, float]]:
    return [(event.kind.value, (event.at - NOON) / timedelta(minutes=1)) for event in events]


# The table ------------------------------------------------------------------------------------------------------


def test_every_state_answers_every_signal() -> None:
    assert set(TRANSITIONS) == set(product(State, Signal))


def test_nothing_becomes_unknown_by_being_observed() -> None:
    assert all(transition.target is not State.UNKNOWN for transition in TRANSITIONS.values())


def test_enough_of_a_kind_decides_in_every_state() -> None:
    assert {TRANSITIONS[state, Signal.RISEN].target for state in State} == {State.UP}
    assert {TRANSITIONS[state, Signal.FALLEN].target for state in State} == {State.DOWN}


def test_every_state_can_be_reached() -> None:
    reached = {State.UNKNOWN}
    for _ in State:
        reached |= {t.target for (source, _), t in TRANSITIONS.items() if source in reached}
    assert reached == set(State)


def documented_table() -> dict[tuple[State, Signal], tuple[State, tuple[EventKind, ...]]]:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    start = next(index for index, row in enumerate(rows) if row[0] == "state")
    signals = [Signal(heading) for heading in rows[start][1:]]
    table = {}
    for row in rows[start + 2 : start + 2 + len(State)]:
        for signal, cell in zip(signals, row[1:], strict=True):
            target, _, kinds = cell.partition(":")
            events = tuple(EventKind(kind.strip()) for kind in kinds.split(",") if kind.strip())
            table[State(row[0].lower()), signal] = State(target.strip().lower()), events
    return table


def test_the_table_in_the_docs_is_the_table() -> None:
    assert documented_table() == {key: (row.target, row.events) for key, row in TRANSITIONS.items()}


def test_the_picture_in_the_docs_is_the_table() -> None:
    arrows = re.findall(r"^ +(\w+) --> (\w+): (.+)$", DOCUMENT.read_text(), re.MULTILINE)
    drawn = {
        (State(source.lower()), Signal(signal.strip())): State(target.lower())
        for source, target, signals in arrows
        for signal in signals.split(",")
    }
    assert drawn == {key: row.target for key, row in TRANSITIONS.items() if row.target is not key[0]}


# Cut off --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("", State.UNKNOWN),
        ("+", State.UNKNOWN),
        ("--", State.FALLING),
        ("---", State.DOWN),
        ("---+", State.DOWN),
        ("---++", State.UNKNOWN),
    ],
)
def test_the_state_of_a_primary_that_cannot_be_seen_any_more(marks: str, expected: State) -> None:
    health = blinded(walk(marks)[0], at(50))
    assert health.state is expected
    assert (health.failing_since, health.recovering_since) == (walk(marks)[0].failing_since, None)


def test_results_in_a_row_begin_anew_after_a_time_in_which_nothing_could_be_seen() -> None:
    falling = blinded(walk("--")[0], at(3))
    assert walk("-", health=falling, first=9)[0].state is State.FALLING
    assert walk("---", health=falling, first=9)[0].state is State.DOWN
    rising = blinded(walk("---+")[0], at(5))
    assert walk("+", health=rising, first=9)[0].state is State.RISING
    assert story(walk("++", health=rising, first=9)[1]) == [("recovering", 9), ("ended", 9)]


# Walking it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "rise", "fall", "expected"),
    [
        ("", 2, 3, State.UNKNOWN),
        ("+", 2, 3, State.UP),
        ("-", 2, 3, State.FALLING),
        ("-", 2, 1, State.DOWN),
        ("+-", 2, 3, State.FALLING),
        ("+--", 2, 3, State.FALLING),
        ("+---", 2, 3, State.DOWN),
        ("+----", 2, 3, State.DOWN),
        ("+--+", 2, 3, State.UP),
        ("+--+--", 2, 3, State.FALLING),
        ("---+", 2, 3, State.RISING),
        ("---++", 2, 3, State.UP),
        ("---+-", 2, 3, State.DOWN),
        ("---+-+", 2, 3, State.RISING),
        ("---+-++", 2, 3, State.UP),
        ("---++", 3, 3, State.RISING),
        ("---+", 1, 3, State.UP),
        ("+-", 1, 1, State.DOWN),
        ("+-+", 1, 1, State.UP),
    ],
)
def test_the_state_after(marks: str, rise: int, fall: int, expected: State) -> None:
    assert walk(marks, rise=rise, fall=fall)[0].state is expected


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("+++", []),
        ("+---", [("started", 1), ("confirmed", 3)]),
        ("+--+", [("started", 1), ("ended", 3)]),
        ("---++", [("started", 0), ("confirmed", 2), ("recovering", 3), ("ended", 3)]),
        (
            "---+-++",
            [
                ("started", 0),
                ("confirmed", 2),
                ("recovering", 3),
                ("relapsed", 4),
                ("recovering", 5),
                ("ended", 5),
            ],
        ),
        ("-+-+", [("started", 0), ("ended", 1), ("started", 2), ("ended", 3)]),
    ],
)
def test_the_record_starts_at_the_first_bad_and_ends_at_the_first_good(
    marks: str, expected: list[tuple[str, float]]
) -> None:
    assert story(walk(marks)[1]) == expected


def test_a_fall_of_one_starts_and_confirms_at_once() -> None:
    assert story(walk("-", fall=1)[1]) == [("started", 0), ("confirmed", 0)]


def test_a_rise_of_one_ends_at_once() -> None:
    assert story(walk("-+", rise=1, fall=1)[1])[2:] == [("ended", 1)]


def test_an_event_tells_what_was_seen() -> None:
    _, events = walk("-")
    assert events == [Event(EventKind.STARTED, NOON, "banner", "-0")]


def test_health_says_since_when_it_fails_and_recovers() -> None:
    health, _ = walk("+---+", rise=3)
    assert (health.state, health.failing_since, health.recovering_since) == (State.RISING, at(1), at(4))


def test_a_relapse_forgets_the_recovery_and_keeps_the_start() -> None:
    health, _ = walk("+---+-")
    assert (health.failing_since, health.recovering_since) == (at(1), None)


def test_health_that_is_up_fails_since_never() -> None:
    health, _ = walk("---++")
    assert (health.failing_since, health.recovering_since) == (None, None)


def test_since_is_when_the_state_was_entered() -> None:
    assert walk("+++")[0].since == at(0)
    assert walk("+----")[0].since == at(3)


@pytest.mark.parametrize(
    ("marks", "streak"), [("+++", 3), ("+-", 1), ("+--", 2), ("---+", 1), ("---++", 2), ("--+", 1)]
)
def test_the_streak_counts_results_of_one_kind(marks: str, streak: int) -> None:
    assert walk(marks)[0].streak == streak


def test_the_last_observation_is_kept_as_it_was() -> None:
    seen = observe(True, 7, "250 hi", 1.5)
    assert step(unobserved(NOON), seen, Damping(1, 1))[0].last == seen


# After a restart ------------------------------------------------------------------------------------------------


def test_a_confirmed_outage_is_taken_up_as_down() -> None:
    health = resumed(at(1), confirmed=True)
    assert (health.state, health.failing_since) == (State.DOWN, at(1))


def test_an_outage_not_yet_confirmed_is_taken_up_as_falling() -> None:
    assert resumed(at(1), confirmed=False).state is State.FALLING


def test_an_outage_taken_up_goes_on_and_ends_at_the_first_good_one_seen() -> None:
    health, events = walk("-++", health=resumed(at(1), confirmed=True), first=10)
    assert health.state is State.UP
    assert story(events) == [("recovering", 11), ("ended", 11)]


def test_a_fall_taken_up_still_wants_its_confirmation() -> None:
    _, events = walk("--", health=resumed(at(1), confirmed=False), first=10)
    assert story(events) == [("confirmed", 11)]


# Clocks ---------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_does_not_end_an_outage_before_it_started() -> None:
    health, _ = walk("---", first=60)
    _, events = walk("++", health=health, first=0)
    assert story(events) == [("recovering", 60), ("ended", 60)]


def test_a_slow_failure_counts_from_when_the_probe_began() -> None:
    _, events = step(walk("+")[0], observe(False, 5, seconds=60), Damping(2, 3))
    assert story(events) == [("started", 5)]


def test_a_slow_failure_does_not_reach_behind_a_success_in_its_midst() -> None:
    up, _ = step(unobserved(NOON), observe(True, 5.5), Damping(2, 3))
    _, events = step(up, observe(False, 5, seconds=60), Damping(2, 3))
    assert story(events) == [("started", 5.5)]


def test_a_slow_success_does_not_reach_behind_a_failure_in_its_midst() -> None:
    down, _ = step(unobserved(NOON), observe(False, 5.5), Damping(1, 1))
    _, events = step(down, observe(True, 5, seconds=60), Damping(1, 1))
    assert story(events) == [("ended", 5.5)]


observations = st.lists(
    st.tuples(
        st.booleans(),
        # Any minute in any order: the wall clock may be set to anything between two observations.
        st.integers(-600, 600),
        st.none() | st.floats(0, 120),
    ),
    max_size=40,
)
dampings = st.builds(Damping, rise=st.integers(1, 4), fall=st.integers(1, 4))
beginnings = st.just(unobserved(NOON)) | st.builds(resumed, st.just(NOON), confirmed=st.booleans())


@untimed
@given(observations, dampings, beginnings)
def test_events_always_tell_of_one_outage_after_another(
    seen: list[tuple[bool, int, float | None]], damping: Damping, health: Health
) -> None:
    started_at = health.failing_since
    confirmed, recovering = health.state is State.DOWN, False
    for good, minute, seconds in seen:
        health, events = step(health, observe(good, minute, seconds=seconds), damping)
        for event in events:
            match event.kind:
                case EventKind.STARTED:
                    assert started_at is None
                    started_at, confirmed, recovering = event.at, False, False
                case EventKind.CONFIRMED:
                    assert not confirmed
                    confirmed = True
                case EventKind.RECOVERING:
                    assert confirmed and not recovering
                    recovering = True
                case EventKind.RELAPSED:
                    assert recovering
                    recovering = False
            assert started_at is not None
            assert event.at >= started_at, f"{event} lies before the start {started_at}"
            if event.kind is EventKind.ENDED:
                started_at = None
        assert health.failing_since == started_at
        assert (health.state in {State.DOWN, State.RISING}) == (started_at is not None and confirmed)
        assert (health.recovering_since is not None) == (health.state is State.RISING)


@untimed
@given(st.lists(st.booleans(), max_size=40), dampings)
def test_decisions_are_those_of_counting_results_in_a_row(results: list[bool], damping: Damping) -> None:
    health, down, run, before = unobserved(NOON), False, 0, None
    for minute, good in enumerate(results):
        health, _ = step(health, observe(good, minute), damping)
        run = run + 1 if good == before else 1
        before = good
        if run >= (damping.rise if good else damping.fall):
            down = not good
        settled = (State.RISING if good else State.DOWN) if down else (State.UP if good else State.FALLING)
        assert health.state is settled
