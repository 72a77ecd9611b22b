from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.ramp import CANARY, Ramp, crowded, disconnected, succeeded, troubled

MAX = 5


def after(ramp: Ramp, successes: int) -> Ramp:
    for _ in range(successes):
        ramp = succeeded(ramp, MAX)
    return ramp


def full() -> Ramp:
    return after(CANARY, 1000)


def test_it_begins_with_a_canary_on_one_connection() -> None:
    assert CANARY.is_canary
    assert CANARY.connections == 1


def test_a_served_canary_lets_others_follow() -> None:
    ramp = succeeded(CANARY, MAX)
    assert not ramp.is_canary
    assert ramp.connections == 2


def test_connections_grow_one_by_one_with_every_round_of_successes() -> None:
    grown = [after(CANARY, successes).connections for successes in range(12)]
    assert grown == [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5]


def test_growth_ends_at_the_limit() -> None:
    assert full().connections == MAX


def test_with_a_limit_of_one_there_is_one_connection_and_no_canary_for_ever() -> None:
    ramp = succeeded(CANARY, 1)
    assert ramp.connections == 1
    assert not ramp.is_canary


@pytest.mark.parametrize(("before", "halved"), [(5, 2), (4, 2), (3, 1), (2, 1), (1, 1)])
def test_trouble_halves_the_connections(before: int, halved: int) -> None:
    assert troubled(Ramp(connections=before, is_canary=False)).connections == halved


def test_what_five_connections_report_at_once_halves_once() -> None:
    ramp = full()
    for _ in range(5):
        ramp = troubled(ramp)
    assert ramp.connections == 2


def test_trouble_that_goes_on_halves_again() -> None:
    ramp = full()
    for _ in range(6):
        ramp = troubled(ramp)
    assert ramp.connections == 1


def test_trouble_with_the_canary_keeps_it_a_canary() -> None:
    ramp = troubled(CANARY)
    assert ramp.is_canary
    assert ramp.connections == 1


def test_after_trouble_growth_takes_more_successes() -> None:
    ramp = troubled(full())
    assert ramp.connections == 2
    assert after(ramp, 3).connections == 2
    assert after(ramp, 4).connections == 3


def test_a_server_that_shows_strain_again_and_again_is_pressed_ever_more_rarely_up_to_a_point() -> None:
    ramp, needed = Ramp(connections=2, is_canary=False), []
    for _ in range(7):
        successes = 0
        while ramp.connections < 3:
            ramp, successes = after(ramp, 1), successes + 1
        needed.append(successes)
        for _ in range(3):
            ramp = troubled(ramp)
    assert needed == [2, 6, 12, 24, 48, 96, 96]


def test_strain_does_not_make_us_forget_a_limit_that_was_found() -> None:
    limited = Ramp(connections=3, is_canary=False, patience=1000)
    assert troubled(limited).patience == 1000


def test_a_connection_refused_next_to_working_ones_shows_the_room_there_is() -> None:
    assert crowded(Ramp(connections=4, is_canary=False), working=3).connections == 3


def test_room_is_never_more_than_was_allowed() -> None:
    assert crowded(Ramp(connections=2, is_canary=False), working=3).connections == 2


def test_a_found_limit_is_tried_again_ever_more_rarely() -> None:
    ramp = crowded(Ramp(connections=4, is_canary=False), working=3)
    needed = []
    for _ in range(4):
        successes = 0
        while ramp.connections == 3:
            ramp, successes = after(ramp, 1), successes + 1
        needed.append(successes)
        ramp = crowded(ramp, working=3)
    assert needed == [30, 300, 3000, 3000]


def test_without_any_connection_the_canary_goes_first_again() -> None:
    ramp = disconnected(full())
    assert ramp.is_canary
    assert ramp.connections == 1


def test_a_found_limit_outlives_a_lost_connection() -> None:
    ramp = disconnected(crowded(Ramp(connections=4, is_canary=False), working=3))
    assert ramp.patience == 10


STEPS: list[Callable[[Ramp], Ramp]] = [
    lambda ramp: succeeded(ramp, MAX),
    troubled,
    disconnected,
    *(lambda ramp, working=working: crowded(ramp, working) for working in range(1, 7)),
]


@given(st.lists(st.sampled_from(STEPS), max_size=200))
def test_whatever_happens_there_is_one_connection_at_least_and_the_limit_at_most(
    steps: list[Callable[[Ramp], Ramp]],
) -> None:
    ramp = CANARY
    for step in steps:
        ramp = step(ramp)
        assert 1 <= ramp.connections <= MAX
        assert not ramp.is_canary or ramp.connections == 1
