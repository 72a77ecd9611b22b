"""Half-open intervals of UTC time and their set arithmetic, exact to the microsecond.

A set of intervals is a tuple, sorted, without overlap and without empty members; `union` makes one of anything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from operator import attrgetter


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
        if self.start.tzinfo is not UTC or self.end.tzinfo is not UTC:
            object.__setattr__(self, "start", self.start.astimezone(UTC))
            object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.end < self.start:
            raise ValueError(f"an interval ends before it starts: {self.start} to {self.end}")

    @property
    def length(self) -> timedelta:
        return self.end - self.start


IntervalSet = tuple[Interval, ...]

_START = attrgetter("start")
_END = attrgetter("end")


def meet(one: Interval, other: Interval) -> bool:
    """Whether they share any time."""
    return max(one.start, other.start) < min(one.end, other.end)


def _made(start: datetime, end: datetime) -> Interval:
    """Of two ends that were looked at already: to look again takes longer than all of the arithmetic."""
    interval = object.__new__(Interval)
    object.__setattr__(interval, "start", start)
    object.__setattr__(interval, "end", end)
    return interval


def union(*groups: Iterable[Interval]) -> IntervalSet:
    """All the time that any of them covers."""
    if len(groups) == 1 and isinstance(groups[0], tuple) and _is_set(groups[0]):
        return groups[0]
    merged: list[Interval] = []
    for interval in sorted(chain(*groups), key=_START):
        if interval.start == interval.end:
            continue
        if merged and interval.start <= merged[-1].end:
            merged[-1] = _made(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return tuple(merged)


def _is_set(intervals: IntervalSet) -> bool:
    """Most of what comes here is one already, and to see that is quicker than to make it again."""
    return all(one.start < one.end for one in intervals) and all(
        one.end < next_one.start for one, next_one in pairwise(intervals)
    )


def within(intervals: IntervalSet, period: Interval) -> IntervalSet:
    """The members of a set that reach into a period, whole."""
    first = bisect_right(intervals, period.start, key=_END)
    return intervals[first : bisect_left(intervals, period.end, lo=first, key=_START)]


def intersection(one: Iterable[Interval], other: Iterable[Interval]) -> IntervalSet:
    """The time that both cover."""
    left, right = union(one), union(other)
    common: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i].start, right[j].start)
        end = min(left[i].end, right[j].end)
        if start < end:
            common.append(_made(start, end))
        if left[i].end < right[j].end:
            i += 1
        else:
            j += 1
    return tuple(common)


def difference(one: Iterable[Interval], other: Iterable[Interval]) -> IntervalSet:
    """The time that `one` covers and `other` does not."""
    left, right = union(one), union(other)
    rest: list[Interval] = []
    j = 0
    for interval in left:
        start = interval.start
        while j < len(right) and right[j].end <= start:
            j += 1
        i = j
        while i < len(right) and right[i].start < interval.end:
            if start < right[i].start:
                rest.append(_made(start, right[i].start))
            start = right[i].end
            i += 1
        if start < interval.end:
            rest.append(_made(start, interval.end))
    return tuple(rest)


def total(intervals: Iterable[Interval]) -> timedelta:
    """How long they are together, overlaps counted once."""
    return sum((interval.length for interval in union(intervals)), timedelta(0))
