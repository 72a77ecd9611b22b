"""What is said of a drain, and the rate at which it goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fallback_mx.redelivery.rate import WINDOW_SECONDS, Rate
from fallback_mx.rules.draining import DrainStatus, Phase, Situation

RAMPING = Situation(
    may_deliver=True,
    is_behind=False,
    put_off_seconds=0.0,
    is_draining=True,
    is_canary=False,
    allowed=2,
    cap=5,
    trouble="",
)


@pytest.mark.parametrize(
    ("situation", "phase", "reason"),
    [
        (RAMPING, Phase.RAMPING, ""),
        (replace(RAMPING, trouble="421 busy"), Phase.SLOWED, "421 busy"),
        (replace(RAMPING, allowed=5), Phase.AT_CAP, ""),
        (replace(RAMPING, is_canary=True, allowed=1), Phase.CANARY, ""),
        (replace(RAMPING, is_canary=True, allowed=1, cap=1), Phase.CANARY, ""),
        (replace(RAMPING, is_canary=True, trouble="550 no"), Phase.CANARY, "550 no"),
        (replace(RAMPING, is_draining=False), Phase.IDLE, ""),
        (replace(RAMPING, is_draining=False, put_off_seconds=3, trouble="refused"), Phase.PUT_OFF, "refused"),
        (replace(RAMPING, is_behind=True, put_off_seconds=3, trouble="refused"), Phase.BEHIND, ""),
        (replace(RAMPING, may_deliver=False, is_behind=True), Phase.WAITING, ""),
    ],
    ids=lambda value: value.name if isinstance(value, Phase) else "",
)
def test_the_phase_and_its_reason_follow_from_the_situation(situation: Situation, phase: Phase, reason: str) -> None:
    assert (situation.phase, situation.reason) == (phase, reason)


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_that_of_the_last_minute() -> None:
    clock = Seconds()
    rate = Rate(clock)
    for _ in range(600):
        clock.now += 0.5
        rate.count(3)
    assert rate.per_second == pytest.approx(6, rel=0.05)
    clock.now += WINDOW_SECONDS / 2
    assert rate.per_second == pytest.approx(3, rel=0.05)
    clock.now += WINDOW_SECONDS
    assert rate.per_second == 0


def test_the_first_moments_of_a_drain_are_measured_by_their_own_length() -> None:
    clock = Seconds()
    rate = Rate(clock)
    clock.now += 10
    rate.count(50)
    assert rate.per_second == 5


def test_a_new_drain_is_not_measured_by_the_last() -> None:
    clock = Seconds()
    rate = Rate(clock)
    rate.count(50)
    rate.begin()
    assert rate.per_second == 0


STATUS = DrainStatus(Phase.AT_CAP, "", True, 5, 5, 5, 0, 0, 0, 4.0, "", 0.0)


def test_the_time_left_is_what_waits_by_the_rate_where_anything_moves() -> None:
    assert STATUS.time_left(12) == timedelta(seconds=3)
    assert replace(STATUS, phase=Phase.PUT_OFF).time_left(12) is None
    assert replace(STATUS, messages_per_second=0.0).time_left(12) is None
    assert replace(STATUS, messages_per_second=1e-300).time_left(12) is None
