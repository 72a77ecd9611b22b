"""The five kinds of time, and a period divided into them.

Where kinds overlap the first of these is what the time is: maintenance, excluded, unknown, down, up. Every moment is of
one kind, so the parts of a period are exactly as long as the period.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from fallback_mx.sla.intervals import Interval, IntervalSet, difference, intersection, total, union


@dataclass(frozen=True, slots=True)
class Parts:
    """How long each kind of time is."""

    maintenance: timedelta = timedelta(0)
    excluded: timedelta = timedelta(0)
    unknown: timedelta = timedelta(0)
    down: timedelta = timedelta(0)
    up: timedelta = timedelta(0)

    @property
    def total(self) -> timedelta:
        return self.maintenance + self.excluded + self.unknown + self.down + self.up

    def __add__(self, other: Parts) -> Parts:
        return Parts(
            self.maintenance + other.maintenance,
            self.excluded + other.excluded,
            self.unknown + other.unknown,
            self.down + other.down,
            self.up + other.up,
        )


@dataclass(frozen=True, slots=True)
class Division:
    """A period, and which of its time is of which kind; `parts` says how long each is."""

    period: Interval
    parts: Parts
    maintenance: IntervalSet
    excluded: IntervalSet
    unknown: IntervalSet
    down: IntervalSet

    @property
    def up(self) -> IntervalSet:
        """What is left of the period. Most of a settlement asks only how long it is."""
        return difference([self.period], union(self.maintenance, self.excluded, self.unknown, self.down))


def divide(
    period: Interval,
    *,
    maintenance: Iterable[Interval] = (),
    excluded: Iterable[Interval] = (),
    known: Iterable[Interval] = (),
    down: Iterable[Interval] = (),
) -> Division:
    """Divide a period. `known` is the time of which it is known whether the primary was up.

    None of them need be sorted, disjoint, or inside the period.
    """
    in_maintenance = intersection([period], maintenance)
    rest = difference([period], in_maintenance)
    taken_out = intersection(rest, excluded)
    rest = difference(rest, taken_out)
    seen = intersection(rest, known)
    seen_down = intersection(seen, down)
    unknown = difference(rest, seen)
    of_down = total(seen_down)
    parts = Parts(total(in_maintenance), total(taken_out), total(unknown), of_down, total(seen) - of_down)
    return Division(period, parts, in_maintenance, taken_out, unknown, seen_down)
