"""A span's evidence, told in the order in which it happened: what a customer may be shown line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fallback_mx.outages.gaps import Unknown
from fallback_mx.outages.spans import Kind, Span


@dataclass(frozen=True, slots=True)
class Line:
    """What happened at a moment; `until` where it took its time."""

    at: datetime
    text: str
    until: datetime | None = None


def story(span: Span, unknown: Sequence[Unknown] = ()) -> tuple[Line, ...]:
    """`unknown` is the time within the span that nobody watched."""
    lines = [*_beginning(span), *_middle(span), *_end(span)]
    within = [Line(one.interval.start, f"unknown: {one.words}", one.interval.end) for one in unknown]
    return tuple(sorted([*lines, *within], key=lambda line: line.at))


def _beginning(span: Span) -> Iterator[Line]:
    if span.last_good_at is not None and span.last_good_at <= span.started_at:
        yield Line(span.last_good_at, _GOOD_BEFORE[span.kind])
    yield Line(span.started_at, f"{_FIRST[span.kind]}, {_said(span.cause_phase, span.cause_detail)}")


def _middle(span: Span) -> Iterator[Line]:
    if span.confirmed_at is not None and span.confirmed_at > span.started_at:
        yield Line(span.confirmed_at, _CONFIRMED[span.kind])
    if span.last_failed_at is not None and span.failures > 1:
        said = _said(span.last_failed_phase, span.last_failed_detail)
        yield Line(span.last_failed_at, f"the last of {span.failures} {_FAILURES[span.kind]}, {said}")
    if span.recovering_since is not None:
        yield Line(span.recovering_since, "answers again, not yet for long enough")


def _end(span: Span) -> Iterator[Line]:
    if span.ended_at is not None:
        yield Line(span.ended_at, f"ended: {_said(span.end_phase, span.end_detail)}")


def _said(phase: str, detail: str) -> str:
    return ": ".join(part for part in (phase, detail) if part) or "nothing was said"


_GOOD_BEFORE = {
    Kind.OUTAGE: "the last good look before it",
    Kind.SLOW: "the last look before it that was answered in time",
    Kind.PORT: "the last knock before it that was answered",
}
_FIRST = {
    Kind.OUTAGE: "the first look that failed",
    Kind.SLOW: "the first slow answer",
    Kind.PORT: "the first knock that was not answered",
}
_FAILURES = {Kind.OUTAGE: "failures", Kind.SLOW: "slow answers", Kind.PORT: "knocks that were not answered"}
_CONFIRMED = {
    Kind.OUTAGE: "taken for an outage: enough looks in a row have failed",
    Kind.SLOW: "taken for slow: it has taken too long for long enough",
    Kind.PORT: "taken for closed: enough knocks in a row were not answered",
}
