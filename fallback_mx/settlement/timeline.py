"""The picture of a month: a row for each day of the agreement's calendar, and what its time was, as SVG.

Nothing in it comes from outside: no font, script or style but its own. Each piece says in its title what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from fallback_mx.settlement.explanation import length, moment
from fallback_mx.sla.days import midnight
from fallback_mx.sla.intervals import Interval, IntervalSet, intersection
from fallback_mx.sla.settling import Settlement

WIDTH = 620
LEFT = 34
ROW = 9
GAP = 2
TOP = 16
# Dark enough to be told apart on a printer without colours.
COLOURS = {
    "up": "#d7ecd9",
    "maintenance": "#8fb4dd",
    "excluded": "#c9a6dd",
    "unknown": "#cccccc",
    "down": "#b3261e",
}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with what it stands for."""

    x: float
    y: float
    width: float
    kind: str
    title: str

    @property
    def colour(self) -> str:
        return COLOURS[self.kind]


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    y: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """`hours` are the marks above the rows: where, and the hour."""

    width: int
    height: int
    rows: tuple[Row, ...]
    hours: tuple[tuple[float, int], ...]
    row_height: int = ROW


def picture(settlement: Settlement) -> Picture:
    """Every day of the month, a row each. A day with a change of the clock is an hour shorter or longer."""
    zone = ZoneInfo(settlement.agreement.time_zone)
    days = list(_days(settlement.month, zone))
    longest = max((interval.length for _, interval in days), default=timedelta(days=1))
    scale = (WIDTH - LEFT) / (longest / timedelta(hours=1))
    rows = tuple(
        Row(str(day.day), TOP + index * (ROW + GAP), tuple(_boxes(settlement, interval, scale, index)))
        for index, (day, interval) in enumerate(days)
    )
    hours = tuple((LEFT + hour * scale, hour) for hour in range(0, 25, 6))
    return Picture(WIDTH, TOP + len(days) * (ROW + GAP), rows, hours)


def _days(month: Interval, zone: ZoneInfo) -> Iterator[tuple[date, Interval]]:
    day = month.start.astimezone(zone).date()
    start = month.start
    while start < month.end:
        end = min(midnight(day + timedelta(1), zone), month.end)
        yield day, Interval(start, end)
        day, start = day + timedelta(1), end


def _boxes(settlement: Settlement, day: Interval, scale: float, index: int) -> Iterator[Box]:
    division = settlement.division
    kinds: tuple[tuple[str, IntervalSet], ...] = (
        ("up", division.up),
        ("maintenance", division.maintenance),
        ("excluded", division.excluded),
        ("unknown", division.unknown),
        ("down", division.down),
    )
    for kind, pieces in kinds:
        for piece in intersection([day], pieces):
            x = LEFT + _hours(piece.start, day.start) * scale
            # What is too short for the picture's width is seen all the same.
            width = max(_hours(piece.end, piece.start) * scale, 1.0 if kind == "down" else 0.2)
            title = f"{kind}, {moment(piece.start)} to {moment(piece.end)}, {length(piece.length)}"
            yield Box(round(x, 2), TOP + index * (ROW + GAP), round(width, 2), kind, title)


def _hours(end: datetime, start: datetime) -> float:
    return (end - start) / timedelta(hours=1)
