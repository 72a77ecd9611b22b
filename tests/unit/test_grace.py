"""Grace and greylisting as rules: a try and its return, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.admission import Verdict
from fallback_mx.rules.grace import REMEMBERED_SECONDS, came_back, grace
from fallback_mx.rules.greylist import may_enter

MOMENTS = st.floats(0, 1e7)
AFTER = st.floats(1, REMEMBERED_SECONDS / 2)
TEN_MINUTES = 600.0


@pytest.mark.parametrize(
    ("first_try", "now", "verdict"),
    [
        (None, 0.0, Verdict.USE_PRIMARY),
        (1000.0, 1000.0, Verdict.USE_PRIMARY),
        (1000.0, 1599.9, Verdict.USE_PRIMARY),
        (1000.0, 1600.0, Verdict.TAKE),
        (1000.0, 1000.0 + REMEMBERED_SECONDS - 1, Verdict.TAKE),
        (1000.0, 1000.0 + REMEMBERED_SECONDS, Verdict.USE_PRIMARY),
    ],
)
def test_a_try_is_taken_from_grace_after_until_a_day_after_the_first(
    first_try: float | None, now: float, verdict: Verdict
) -> None:
    assert grace(first_try, now, TEN_MINUTES) is verdict


@given(first_try=MOMENTS, now=MOMENTS, after=AFTER)
def test_grace_is_never_given_before_grace_after(first_try: float, now: float, after: float) -> None:
    if now - first_try < after:
        assert grace(first_try, now, after) is Verdict.USE_PRIMARY


@given(now=MOMENTS, after=AFTER)
def test_who_was_never_seen_did_not_come_back(now: float, after: float) -> None:
    assert not came_back(None, now, after)


@given(first_tries=st.lists(st.none() | MOMENTS, max_size=3), now=MOMENTS, delay=AFTER)
def test_an_unknown_network_enters_exactly_where_one_of_its_tries_came_back(
    first_tries: list[float | None], now: float, delay: float
) -> None:
    expected = any(came_back(first_try, now, delay) for first_try in first_tries)
    assert may_enter(False, first_tries, now, delay) is expected


def test_a_known_network_enters_at_its_first_try() -> None:
    assert may_enter(True, (None,), 0.0, TEN_MINUTES)
