"""Durations, sizes and counts in people's words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fallback_mx.spoken import counted, duration, octets


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(milliseconds=999), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=14, seconds=59), "14 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=23, hours=17), "23 days 17 h"),
    ],
)
def test_a_duration_is_said_in_at_most_two_units_and_never_too_long(length: timedelta, said: str) -> None:
    assert duration(length) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345, "12.3 kB"), (999_600, "1 MB")],
)
def test_a_size_is_said_in_three_digits(size: int, said: str) -> None:
    assert octets(size) == said


def test_one_is_singular_and_none_is_not() -> None:
    assert [counted(n, "entry", "entries") for n in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
