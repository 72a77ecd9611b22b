"""Half-open intervals of UTC time and their set arithmetic, exact to the microsecond.

A set of intervals is a tuple, sorted, without overlap and without empty members; `union` makes one of anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """From `start` up to, not including, `end`; aware datetimes of any zone, kept in UTC.

    Raises ValueError where the end lies before the start, or where a datetime is naive.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("an interval wants aware datetimes")
        # Two datetimes of one zone subtract by its wall clock, which is an hour off across a change to summer time.
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.end < self.start:
            raise ValueError(f"an interval ends before it starts: {self.start} to {self.end}")

    @property
    def length(self) -> timedelta:
        return self.end - self.start


IntervalSet = tuple[Interval, ...]


def union(*groups: Iterable[Interval]) -> IntervalSet:
    """All the time that any of them covers."""
    merged: list[Interval] = []
    for interval in sorted(chain(*groups)):
        if interval.start == interval.end:
            continue
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return tuple(merged)


def intersection(one: Iterable[Interval], other: Iterable[Interval]) -> IntervalSet:
    """The time that both cover."""
    left, right = union(one), union(other)
    common: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i].start, right[j].start)
        end = min(left[i].end, right[j].end)
        if start < end:
            common.append(Interval(start, end))
        if left[i].end < right[j].end:
            i += 1
        else:
            j += 1
    return tuple(common)


def total(intervals: Iterable[Interval]) -> timedelta:
    """How long they are together, overlaps counted once."""
    return sum((interval.length for interval in union(intervals)), timedelta(0))
