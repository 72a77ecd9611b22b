"""A span's evidence as a story."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fallback_mx.outages.gaps import Cause, Unknown
from fallback_mx.outages.spans import Kind, Span
from fallback_mx.outages.story import Line, story
from fallback_mx.sla.intervals import Interval

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


WHOLE = Span(
    "S",
    "main",
    "mx2",
    at(1),
    "connect",
    "connection refused",
    confirmed_at=at(3),
    ended_at=at(9),
    end_phase="ehlo",
    end_detail="250 hi",
    last_good_at=at(0),
    failures=7,
    last_failed_at=at(8),
    last_failed_phase="banner",
    last_failed_detail="421 starting",
)


def test_an_outage_is_told_from_the_last_good_look_before_it_to_what_ended_it() -> None:
    assert story(WHOLE) == (
        Line(at(0), "the last good look before it"),
        Line(at(1), "the first look that failed, connect: connection refused"),
        Line(at(3), "taken for an outage: enough looks in a row have failed"),
        Line(at(8), "the last of 7 failures, banner: 421 starting"),
        Line(at(9), "ended: ehlo: 250 hi"),
    )


def test_what_nobody_knows_is_not_told() -> None:
    bare = Span("S", "main", "mx2", at(1), "connect", "connection refused")
    assert [line.at for line in story(bare)] == [at(1)]


def test_unknown_time_within_it_is_told_with_its_cause_and_its_end() -> None:
    unknown = Unknown(Interval(at(4), at(6)), Cause.OFF)
    assert Line(at(4), "unknown: the monitor was off", at(6)) in story(WHOLE, [unknown])


def test_every_kind_has_words_of_its_own() -> None:
    told = {kind: tuple(line.text for line in story(replace(WHOLE, kind=kind))[:4]) for kind in Kind}
    assert len({text for texts in told.values() for text in texts}) == 4 * len(Kind)
