from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.backoff import SPREAD, Backoff, wait

BACKOFF = Backoff(first=timedelta(minutes=1), factor=2, longest=timedelta(minutes=10), lifetime=timedelta(days=30))
YOUNG = timedelta()
EVEN = 0.5  # neither earlier nor later

durations = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=40))
chances = st.floats(min_value=0, max_value=1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10), (1_000_000, 10)]
)
def test_the_wait_doubles_up_to_its_ceiling(attempts: int, minutes: int) -> None:
    assert wait(attempts, YOUNG, EVEN, BACKOFF) == timedelta(minutes=minutes)


@given(attempts=st.integers(0, 10**9), age=durations, jitter=chances)
def test_a_wait_is_positive_and_never_goes_past_the_end_of_the_lifetime(
    attempts: int, age: timedelta, jitter: float
) -> None:
    delay = wait(attempts, age, jitter, BACKOFF)
    if age >= timedelta(days=30):
        assert delay is None
    else:
        assert delay is not None
        assert timedelta() < delay <= timedelta(days=30) - age


@given(attempts=st.integers(0, 100), jitter=chances)
def test_chance_moves_a_wait_by_a_quarter_at_most(attempts: int, jitter: float) -> None:
    even = wait(attempts, YOUNG, EVEN, BACKOFF)
    spread = wait(attempts, YOUNG, jitter, BACKOFF)
    assert even is not None
    assert spread is not None
    assert even * (1 - SPREAD) <= spread <= even * (1 + SPREAD)


def test_what_failed_together_does_not_come_back_together() -> None:
    assert len({wait(3, YOUNG, chance / 10, BACKOFF) for chance in range(10)}) == 10


@pytest.mark.parametrize("age", [timedelta(days=30), timedelta(days=31), timedelta(days=30, microseconds=1)])
def test_at_the_end_of_its_lifetime_mail_has_expired(age: timedelta) -> None:
    assert wait(1, age, EVEN, BACKOFF) is None


def test_the_last_attempt_falls_on_the_end_of_the_lifetime() -> None:
    age = timedelta(days=30) - timedelta(seconds=30)
    assert wait(9, age, EVEN, BACKOFF) == timedelta(seconds=30)


def test_a_clock_that_was_set_back_ages_nothing() -> None:
    assert wait(1, timedelta(hours=-10), EVEN, BACKOFF) == timedelta(minutes=1)


def test_without_a_lifetime_nothing_expires() -> None:
    assert wait(1, timedelta(days=36500), EVEN, Backoff(lifetime=None)) == timedelta(minutes=1)
