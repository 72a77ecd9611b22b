"""The picture of 90 days: a column for each, in which every kind of time has its share, its shape and its pattern.

Down hangs below the line, unknown is hatched, maintenance is striped and short of the top: who sees no colours sees
those. Columns without trouble are drawn in one stroke, so that a page of many primaries stays small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from fallback_mx.published.facts import DAYS, Day, Mark
from fallback_mx.spoken import counted, duration

STEP, COLUMN = 8, 6
TOP, LINE, HANG = 2, 40, 6
WIDTH, HEIGHT = DAYS * STEP, LINE + HANG + 2
# What is too short for the picture's height is seen all the same.
LEAST = 4.0
# From the line upwards.
_STACK = (Mark.DOWN, Mark.UNKNOWN, Mark.MAINTENANCE, Mark.EXCLUDED)
_NAMES = {
    Mark.DOWN: "down",
    Mark.UNKNOWN: "nobody watched",
    Mark.MAINTENANCE: "maintenance",
    Mark.EXCLUDED: "left out of the agreement",
    Mark.UP: "up",
}


@dataclass(frozen=True, slots=True)
class Hint:
    """What a pointer is told over a column that was not all up."""

    x: int
    text: str


@dataclass(frozen=True, slots=True)
class Bars:
    """`strokes` has an SVG path for each kind of time that there was; `label` says in words what is to be seen."""

    width: int
    height: int
    strokes: tuple[tuple[str, str], ...]
    hints: tuple[Hint, ...]
    label: str


# The record is read anew every ten seconds, and pages are made every second.
@lru_cache(maxsize=1000)
def bars(days: tuple[Day, ...]) -> Bars:
    drawn: dict[Mark, list[str]] = {}
    hints = []
    for index, day in enumerate(days):
        x = index * STEP + 1
        for mark, top, height in _pieces(day):
            drawn.setdefault(mark, []).append(f"M{x} {top:g}h{COLUMN}v{height:g}h-{COLUMN}z")
        if day.mark is not Mark.UP:
            hints.append(Hint(x - 1, f"{day.day:%-d %B}: {in_words(day)}"))
    strokes = tuple((mark.value, "".join(drawn[mark])) for mark in Mark if mark in drawn)
    return Bars(WIDTH, HEIGHT, strokes, tuple(hints), label(days))


def _pieces(day: Day) -> Iterator[tuple[Mark, float, float]]:
    """The shares of a column from the line upwards: of what, where it begins and how high it is."""
    bottom = float(LINE)
    for mark, height in _heights(day).items():
        top = round(bottom - height, 1)
        yield mark, top, round(bottom - top + (HANG if mark is Mark.DOWN else 0), 1)
        bottom = top
    if day.parts.up and bottom > TOP:
        yield Mark.UP, TOP, round(bottom - TOP, 1)


def _heights(day: Day) -> dict[Mark, float]:
    """How high each kind of time is, from the line upwards, but for what is up: that has what is left."""
    room = float(LINE - TOP)
    if day.mark is Mark.UP:
        return {}
    lengths = {mark: _of(day, mark) for mark in _STACK if _of(day, mark)}
    heights = {mark: max(LEAST, round(room * (length / day.parts.total), 1)) for mark, length in lengths.items()}
    if (excess := sum(heights.values()) - room) > 0:
        # What was raised to be seen is taken from what is seen anyway.
        highest = max(heights, key=lambda mark: heights[mark])
        heights[highest] = round(heights[highest] - excess, 1)
    return heights


def _of(day: Day, mark: Mark) -> timedelta:
    length: timedelta = getattr(day.parts, mark.value)
    return length


def in_words(day: Day) -> str:
    """ "down 14 min, nobody watched 2 h"."""
    said = [f"{_NAMES[mark]} {_length(_of(day, mark))}" for mark in _STACK if _of(day, mark)]
    return ", ".join(said) or "up"


def _length(length: timedelta) -> str:
    return duration(length) if length >= timedelta(seconds=1) else "less than 1 s"


def label(days: Sequence[Day]) -> str:
    """What the picture shows, for who does not see it."""
    marked = Counter(day.mark for day in days)
    said = [
        f"{_NAMES[mark]} on {counted(marked[mark], 'day')}" for mark in Mark if mark in marked and mark is not Mark.UP
    ]
    up = f"up all of {counted(marked[Mark.UP], 'day')}"
    return f"The last {counted(len(days), 'day')}: " + ", ".join([up, *said])


def troubled(days: Sequence[Day]) -> list[Day]:
    """The days with something to explain, the latest first. Maintenance explains itself, and of time before anybody
    watched there is nothing to tell."""
    plain = (Mark.UP, Mark.MAINTENANCE)
    return [day for day in reversed(days) if day.mark not in plain and day.parts.unknown != day.parts.total]
