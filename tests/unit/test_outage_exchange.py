"""Outages and watched time as lines of JSON: what goes out comes in again, and a bad line is told with its number."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.outages.exchange import BadLine, outage_line, read_outages, read_watches, watch_lines
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.sla.intervals import Interval

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LINE = {"primary": "main", "started_at": "2026-10-05T10:00:00Z", "ended_at": "2026-10-05T11:30:00Z", "cause": "refused"}


def outages(*lines: object) -> list[Span]:
    return list(read_outages((line if isinstance(line, str) else json.dumps(line) for line in lines), NOW))


def test_an_outage_is_read_with_its_times_and_cause() -> None:
    (span,) = outages(LINE)
    assert (span.primary, span.started_at, span.ended_at) == (
        "main",
        datetime(2026, 10, 5, 10, tzinfo=UTC),
        datetime(2026, 10, 5, 11, 30, tzinfo=UTC),
    )
    assert (span.confirmed_at, span.cause_detail) == (span.started_at, "refused")


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    (span,) = outages(LINE | {"started_at": "2026-10-05T12:00:00+02:00"})
    assert span.started_at == datetime(2026, 10, 5, 10, tzinfo=UTC)


def test_an_outage_that_goes_on_has_no_end_and_keeps_its_id_once_it_has() -> None:
    (going_on,) = outages(LINE | {"ended_at": None})
    (over,) = outages(LINE)
    assert going_on.ended_at is None
    assert going_on.id == over.id


def test_the_same_line_has_the_same_id_and_another_has_another() -> None:
    one, same, other = outages(LINE, LINE, LINE | {"primary": "other"})
    assert one == same
    assert one.id != other.id
    assert len(one.id) == 26


def test_an_outage_and_a_watch_of_the_same_time_are_told_apart() -> None:
    line = {key: LINE[key] for key in ("primary", "started_at", "ended_at")}
    (watch,) = read_watches([json.dumps(line)], NOW)
    (span,) = outages(line)
    assert watch.id != span.id


def test_empty_lines_are_passed_over() -> None:
    assert len(outages("", LINE, "  \n")) == 1


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("{", "line 2: is not JSON"),
        ("[]", "line 2: is not a JSON object"),
        ("[" * 100_000, "line 2: is not JSON"),
        (LINE | {"primary": ""}, 'line 2: "primary" is not the name of a primary'),
        (LINE | {"primary": "a\nb"}, 'line 2: "primary" is not the name of a primary'),
        (LINE | {"primary": 3}, 'line 2: "primary" is not the name of a primary'),
        (LINE | {"started_at": "yesterday"}, 'line 2: "started_at" is not an RFC 3339 time'),
        (LINE | {"started_at": 1}, 'line 2: "started_at" is not an RFC 3339 time'),
        (LINE | {"started_at": "2026-10-05T10:00:00"}, 'line 2: "started_at" has no zone'),
        (LINE | {"started_at": "0001-01-01T00:00:00+14:00"}, 'line 2: "started_at" is not an RFC 3339 time'),
        (LINE | {"started_at": "1969-12-31T23:59:59Z"}, 'line 2: "started_at" lies before 1970'),
        (LINE | {"ended_at": "2026-10-05T09:00:00Z"}, "line 2: ends before it starts"),
        (LINE | {"ended_at": "2027-10-05T09:00:00Z"}, "line 2: lies in the future"),
        (LINE | {"cause": 3}, 'line 2: "cause" is not text'),
        (LINE | {"end": 3}, 'line 2: "end" is not a key of such a line'),
    ],
)
def test_a_bad_line_is_told_with_its_number(line: object, wrong: str) -> None:
    with pytest.raises(BadLine) as raised:
        outages(LINE, line)
    assert str(raised.value).startswith(wrong)


def test_watched_time_without_an_end_is_told() -> None:
    with pytest.raises(BadLine, match="say until when"):
        list(read_watches(['{"primary": "main", "started_at": "2026-10-05T10:00:00Z"}'], NOW))


moments = st.datetimes(datetime(1970, 1, 1), NOW.replace(tzinfo=None), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, moments, st.text(max_size=600))
def test_what_goes_out_comes_in_again(one: datetime, other: datetime, cause: str) -> None:
    line = LINE | {"started_at": min(one, other).isoformat(), "ended_at": max(one, other).isoformat(), "cause": cause}
    (span,) = outages(line)
    assert outages(outage_line(span)) == [span]


def test_watched_time_goes_out_once_and_cut_to_the_period() -> None:
    hour = timedelta(hours=1)
    watches = [
        Watch("1", "main", "mx1", NOW - 9 * hour, NOW - 5 * hour),
        Watch("2", "main", "mx2", NOW - 6 * hour, NOW - 3 * hour),
        Watch("3", "main", "mx2", NOW - 2 * hour, NOW),
    ]
    lines = list(watch_lines("main", watches, Interval(NOW - 8 * hour, NOW - hour)))
    read = list(read_watches(map(json.dumps, lines), NOW))
    assert [watch.interval for watch in read] == [
        Interval(NOW - 8 * hour, NOW - 3 * hour),
        Interval(NOW - 2 * hour, NOW - hour),
    ]
