"""What stands of an operator's orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.health import State
from fallback_mx.rules.orders import NO_ORDERS, Order, Standing, What, standing

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def order(what: What, until: timedelta | None = None) -> Order:
    return Order("main", what, NOW - HOUR, None if until is None else NOW + until, "root", "")


PAUSE, UP, DOWN, RESUME = (
    order(What.PAUSE),
    order(What.FORCE_UP, HOUR),
    order(What.FORCE_DOWN, HOUR),
    order(What.RESUME),
)


@pytest.mark.parametrize(
    ("orders", "stands"),
    [
        ([], NO_ORDERS),
        ([PAUSE], Standing(pause=PAUSE)),
        ([UP], Standing(force=UP)),
        ([PAUSE, UP], Standing(PAUSE, UP)),
        ([UP, DOWN], Standing(force=DOWN)),
        ([DOWN, UP], Standing(force=UP)),
        ([PAUSE, UP, RESUME], NO_ORDERS),
        ([PAUSE, RESUME, UP], Standing(force=UP)),
        ([RESUME, PAUSE], Standing(pause=PAUSE)),
    ],
)
def test_the_later_of_a_kind_stands_and_a_resume_takes_back_what_came_before(
    orders: list[Order], stands: Standing
) -> None:
    assert standing(orders, NOW) == stands


def test_an_order_ends_at_its_until_and_not_before() -> None:
    ends = order(What.PAUSE, HOUR)
    assert standing([ends], NOW + HOUR - timedelta(microseconds=1)).pause == ends
    assert standing([ends], NOW + HOUR).pause is None


def test_a_pause_that_is_over_does_not_bring_an_earlier_one_back() -> None:
    assert standing([PAUSE, order(What.PAUSE, -HOUR)], NOW) == NO_ORDERS


@pytest.mark.parametrize("seen", State)
def test_a_force_says_how_a_primary_is_treated_whatever_is_seen(seen: State) -> None:
    assert NO_ORDERS.state(seen) is seen
    assert Standing(force=UP).state(seen) is State.UP
    assert Standing(force=DOWN).state(seen) is State.DOWN
    assert Standing(force=UP).may_deliver(seen)
    assert not Standing(force=DOWN).may_deliver(seen)
    assert NO_ORDERS.may_deliver(seen) == (seen is State.UP)


@pytest.mark.parametrize("seen", State)
def test_a_pause_keeps_mail_here_even_where_the_primary_is_forced_up_and_changes_no_state(seen: State) -> None:
    assert not Standing(PAUSE, UP).may_deliver(seen)
    assert Standing(pause=PAUSE).state(seen) is seen


@given(st.lists(st.sampled_from([PAUSE, UP, DOWN, RESUME, order(What.PAUSE, HOUR)]), max_size=12))
def test_the_last_of_each_kind_is_all_that_matters(orders: list[Order]) -> None:
    last = {each.what: number for number, each in enumerate(orders)}
    assert standing(orders, NOW) == standing([orders[number] for number in sorted(last.values())], NOW)
