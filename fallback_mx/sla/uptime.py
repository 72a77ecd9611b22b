"""How much of a period a primary was up, was down, and was not watched.

Unknown goes before down, and down before up: an outage counts only where somebody was watching, and time that nobody
watched is neither. The parts add up to the period to the microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from fallback_mx.sla.intervals import Interval, intersection, total


@dataclass(frozen=True, slots=True)
class Uptime:
    """The parts of a period: up + down + unknown is its length."""

    period: Interval
    up: timedelta
    down: timedelta
    unknown: timedelta

    @property
    def availability(self) -> Fraction | None:
        """The share of the watched time that was up, exactly, from 0 to 1; None where nobody watched."""
        watched = self.up + self.down
        if not watched:
            return None
        microsecond = timedelta(microseconds=1)
        return Fraction(self.up // microsecond, watched // microsecond)


def figures(period: Interval, down: Iterable[Interval], watched: Iterable[Interval]) -> Uptime:
    """Count a period. Neither `down` nor `watched` need be sorted, disjoint, or inside the period."""
    seen = intersection([period], watched)
    seen_down = total(intersection(seen, down))
    seen_at_all = total(seen)
    return Uptime(period, seen_at_all - seen_down, seen_down, period.length - seen_at_all)
