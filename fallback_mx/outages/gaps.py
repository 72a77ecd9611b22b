"""Why a time was not watched: Gap, and the unknown time of a period with its causes.

What is watched decides (`spans.watched`); a gap only says why the rest is unknown, as far as somebody can say. Where
two gaps meet the shorter one has the time: it says more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from fallback_mx.outages.spans import storable
from fallback_mx.sla.intervals import Interval, IntervalSet, intersection, union


class Cause(StrEnum):
    """Why nobody could see the primary."""

    OFF = "off"  # no monitor ran
    CUT_OFF = "cut_off"  # no control answered either: our own network
    OURS = "ours"  # our own machine could not look
    SUSPENDED = "suspended"  # the machine slept, or gave the service no time
    CLOCK = "clock"  # the clock was set forward

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Cause.OFF: "the monitor was off",
    Cause.CUT_OFF: "we were cut off from the network",
    Cause.OURS: "this machine could not look",
    Cause.SUSPENDED: "the monitor stood still",
    Cause.CLOCK: "the clock was set forward",
}
NOBODY = "nobody watched"


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which one node could not see a primary, and why. It is an interval row as Watch is, and grows."""

    id: str
    primary: str
    node: str
    started_at: datetime
    ended_at: datetime
    cause: Cause
    detail: str = ""

    @property
    def interval(self) -> Interval:
        return Interval(self.started_at, max(self.started_at, self.ended_at))

    def until(self, at: datetime) -> Gap:
        return replace(self, ended_at=max(self.ended_at, at))


def gap(gap_id: str, primary: str, node: str, period: Interval, cause: Cause, detail: str = "") -> Gap:
    return Gap(gap_id, primary, node, period.start, period.end, cause, storable(detail))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A piece of a period that nobody watched. `cause` is None where nobody can say why."""

    interval: Interval
    cause: Cause | None = None
    detail: str = ""

    @property
    def words(self) -> str:
        said = NOBODY if self.cause is None else self.cause.words
        return f"{said}: {self.detail}" if self.detail else said


def unknown(period: Interval, watched: IntervalSet, gaps: Iterable[Gap]) -> tuple[Unknown, ...]:
    """The unknown time of a period, in order, whole and without overlap."""
    left = _without(period, watched)
    found: list[Unknown] = []
    for each in sorted(gaps, key=lambda one: (one.interval.length, one.started_at, one.id)):
        covered = intersection(left, [each.interval])
        found += [Unknown(piece, each.cause, each.detail) for piece in covered]
        left = tuple(rest for piece in left for rest in _without(piece, covered))
    found += [Unknown(piece) for piece in left]
    return tuple(sorted(found, key=lambda one: one.interval))


def _without(period: Interval, taken: Iterable[Interval]) -> IntervalSet:
    """What is left of a period."""
    left: list[Interval] = []
    at = period.start
    for each in intersection([period], taken):
        left.append(Interval(at, each.start))
        at = each.end
    return union([*left, Interval(at, period.end)])
