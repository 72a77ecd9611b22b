"""The token bucket: what it lets through, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.bucket import Bucket


def test_a_full_bucket_gives_its_burst_at_once_and_then_makes_wait() -> None:
    bucket = Bucket.full(2.0, 3.0, now=0.0)
    waits = []
    for _ in range(5):
        bucket, wait = bucket.take(0.0)
        waits.append(wait)
    assert waits == [0.0, 0.0, 0.0, 0.5, 1.0]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket, _ = Bucket.full(1.0, 1.0, now=10.0).take(10.0)
    bucket, wait = bucket.take(5.0)
    assert (wait, bucket.at) == (1.0, 10.0)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.floats(0.1, 5), st.integers(1, 10))
def test_never_more_goes_through_than_the_burst_and_the_rate(gaps: list[float], rate: float, burst: int) -> None:
    bucket, now, passes = Bucket.full(rate, burst, now=0.0), 0.0, []
    for gap in gaps:
        now += gap
        bucket, wait = bucket.take(now)
        passes.append(now + wait)
    for index, start in enumerate(passes):
        for count, end in enumerate(passes[index:], 1):
            assert count <= burst + (end - start) * rate + 1e-6 or count == 1


@pytest.mark.parametrize("idle", [1.0, 100.0, 1e9])
def test_idle_time_fills_it_no_further_than_its_burst(idle: float) -> None:
    bucket, _ = Bucket.full(1.0, 2.0, now=0.0).take(idle)
    assert bucket.tokens == 1.0
