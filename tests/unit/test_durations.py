"""Durations and sizes as text, and back."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.durations import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text, duration):
    assert parse_duration(text) == duration
    assert format_duration(duration) == text


@pytest.mark.parametrize("text", ["", "10", "s", "1.5h", "-5s", "10 s", "1h30m", "10S", "٣s", "10s\n", "999999999999d"])
def test_text_that_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [("50MB", 50_000_000), ("512KiB", 524_288), ("0B", 0), ("1500B", 1500), ("2GB", 2_000_000_000), ("1TiB", 1024**4)],
)
def test_a_size_is_a_number_and_a_unit(text, octets):
    assert parse_size(text) == octets
    assert parse_size(format_size(octets)) == octets


def test_capitals_of_a_size_make_no_difference():
    assert parse_size("50mb") == parse_size("50MB") == 50_000_000


@pytest.mark.parametrize("text", ["", "50", "MB", "1.5GB", "-1B", "50 MB", "50M"])
def test_text_that_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_any_whole_number_of_milliseconds_survives_being_written(milliseconds):
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_any_size_survives_being_written(octets):
    assert parse_size(format_size(octets)) == octets
