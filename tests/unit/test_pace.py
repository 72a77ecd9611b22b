"""How fast is fast enough."""

from datetime import UTC, datetime, timedelta

import pytest

from fallback_mx.monitor.settings import MonitorSettings
from fallback_mx.rules.health import Damping, Observation
from fallback_mx.rules.pace import of_pace

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = timedelta(seconds=5)


def answered(*phases: tuple[str, float]) -> Observation:
    return Observation(True, NOON, "ehlo", "250 hi", sum(seconds for _, seconds in phases), phases=phases)


@pytest.mark.parametrize(("seconds", "good"), [(0.1, True), (5.0, True), (5.001, False), (60.0, False)])
def test_an_answer_is_slow_that_took_longer_than_the_limit(seconds: float, good: bool) -> None:
    assert of_pace(answered(("banner", seconds)), LIMIT).good is good


def test_a_slow_answer_names_the_step_that_took_most_of_it() -> None:
    seen = of_pace(answered(("connect", 0.5), ("banner", 6.0), ("ehlo", 0.25)), LIMIT)
    assert (seen.phase, seen.detail) == ("banner", "took 6.75 s, 6 s of it for banner")


@pytest.mark.parametrize(("interval", "slow_for", "looks"), [(10, 300, 30), (10, 301, 31), (60, 30, 1), (7, 30, 5)])
def test_slow_for_is_as_many_looks_as_come_in_that_time(interval: int, slow_for: int, looks: int) -> None:
    settings = MonitorSettings(timedelta(seconds=interval), 2, 3, slow_for=timedelta(seconds=slow_for))
    assert settings.slow_damping == Damping(looks, looks)
