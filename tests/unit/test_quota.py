"""How many reports may go to one sender in a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.bounces import quota
from fallback_mx.bounces.quota import ADDRESS_BURST, DOMAIN_BURST, FULL_AGAIN_SECONDS, Quota


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def sent(one: Quota, paths: list[str]) -> int:
    return sum(one.refusal(path) == "" for path in paths)


def test_so_many_go_to_one_address_and_then_no_more() -> None:
    one = Quota(Time())
    assert sent(one, ["list@example.com"] * 100) == ADDRESS_BURST
    assert (
        one.refusal("List@Example.com")
        == "20 reports went to list@example.com within an hour, no more go there for now"
    )


def test_so_many_go_into_one_domain_however_many_addresses_it_has() -> None:
    one = Quota(Time())
    assert sent(one, [f"user{number}@example.com" for number in range(1000)]) == DOMAIN_BURST
    assert "200 reports went to example.com" in one.refusal("somebody@example.com")


def test_others_are_told_meanwhile() -> None:
    one = Quota(Time())
    sent(one, ["list@example.com"] * 100)
    assert one.refusal("other@example.com") == ""
    assert one.refusal("list@example.org") == ""


def test_what_is_refused_does_not_count() -> None:
    one = Quota(Time())
    assert sent(one, ["list@example.com"] * 1000) == ADDRESS_BURST
    assert sent(one, [f"user{number}@example.com" for number in range(1000)]) == DOMAIN_BURST - ADDRESS_BURST


def test_an_hour_later_as_many_go_again() -> None:
    time = Time()
    one = Quota(time)
    sent(one, ["list@example.com"] * 100)
    time.seconds = FULL_AGAIN_SECONDS / ADDRESS_BURST + 0.001
    assert sent(one, ["list@example.com"] * 100) == 1
    time.seconds += FULL_AGAIN_SECONDS + 1
    assert sent(one, ["list@example.com"] * 100) == ADDRESS_BURST


@given(st.lists(st.floats(0, 120), min_size=60, max_size=200))
def test_never_more_than_twice_as_many_in_any_hour(waits: list[float]) -> None:
    time = Time()
    one = Quota(time)
    at: list[float] = []
    for wait in waits:
        time.seconds += wait
        if one.refusal("a@example.com") == "":
            at.append(time.seconds)
    for start in at:
        assert sum(start <= each < start + FULL_AGAIN_SECONDS for each in at) <= 2 * ADDRESS_BURST


def test_of_too_many_senders_those_are_forgotten_that_were_not_met_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MOST_SENDERS", 6)
    one = Quota(Time())
    sent(one, ["list@example.com"] * 100)
    for number in range(10):
        one.refusal(f"a@{number}.example")
    assert one.refusal("list@example.com") == ""
