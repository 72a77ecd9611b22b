"""The picture of a day of the queue: how much waited, and how old the oldest of it was, as two SVG paths.

Labels stand beside the picture in the page, so that they are as large on a telephone as anywhere. Time in which no
service ran is a gap in the line, and is hatched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fallback_mx.published.facts import peak
from fallback_mx.published.samples import Sample
from fallback_mx.spoken import counted, duration

WIDTH, HEIGHT = 720, 120
Series = Sequence[tuple[datetime, Sample | None]]


@dataclass(frozen=True, slots=True)
class Curve:
    """`line` and `area` are paths; `most` is what the upper edge stands for, in words."""

    line: str
    area: str
    most: str


@dataclass(frozen=True, slots=True)
class Plot:
    """`gaps` are rectangles, where they begin and how wide they are; `ticks` stand below, from left to right."""

    messages: Curve
    age: Curve
    gaps: tuple[tuple[float, float], ...]
    ticks: tuple[str, ...]
    words: str
    width: int = WIDTH
    height: int = HEIGHT


def plot(samples: Series) -> Plot:
    step = WIDTH / max(1, len(samples) - 1)
    most = _round_up(max((sample.messages for _, sample in samples if sample is not None), default=0))
    oldest = _round_age(max((sample.oldest_age_seconds for _, sample in samples if sample is not None), default=0))
    hours = [samples[index * (len(samples) - 1) // 4][0] for index in range(5)]
    return Plot(
        _curve(samples, step, most, lambda sample: sample.messages, counted(most, "message")),
        _curve(samples, step, oldest, lambda sample: sample.oldest_age_seconds, _age(oldest)),
        tuple(_gaps(samples, step)),
        (*(f"{at:%H:%M}" for at in hours[:-1]), "now"),
        in_words(samples),
    )


def in_words(samples: Series) -> str:
    """What the picture shows."""
    known = [sample for _, sample in samples if sample is not None]
    if not known:
        return "Nothing is known of the last 24 hours yet."
    highest = peak(samples)
    if highest is None:
        return "No message waited in the last 24 hours."
    at, sample = highest
    oldest = max(one.oldest_age_seconds for one in known)
    return (
        f"At most {counted(sample.messages, 'message')} waited, about {at:%H:%M} UTC; "
        f"the oldest came to wait for {_age(oldest)}."
    )


def hourly(samples: Series) -> Iterator[tuple[datetime, Sample]]:
    """The most of each hour that anything is known of, the latest first."""
    hours: dict[datetime, Sample] = {}
    for at, sample in samples:
        if sample is not None:
            hour = at.replace(minute=0)
            hours[hour] = sample.merged(hours.get(hour, sample))
    yield from sorted(hours.items(), reverse=True)


def _curve(samples: Series, step: float, most: int, value: Callable[[Sample], int], words: str) -> Curve:
    line, area = [], []
    for run in _runs(samples):
        points = [(round(index * step, 1), _y(value(sample), most)) for index, sample in run]
        if len(points) == 1:
            points.append((points[0][0] + 1, points[0][1]))
        path = "L".join(f"{x:g} {y:g}" for x, y in _corners(points))
        line.append(f"M{path}")
        area.append(f"M{points[0][0]:g} {HEIGHT}L{path}L{points[-1][0]:g} {HEIGHT}z")
    return Curve("".join(line), "".join(area), words)


def _corners(points: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The points without those that lie on a level line between two others: most of a quiet day."""
    for index, point in enumerate(points):
        is_end = index in (0, len(points) - 1)
        if is_end or not points[index - 1][1] == point[1] == points[index + 1][1]:
            yield point


def _y(value: int, most: int) -> float:
    return round(HEIGHT - 1 - value / max(1, most) * (HEIGHT - 4), 1)


def _runs(samples: Series) -> Iterator[list[tuple[int, Sample]]]:
    run: list[tuple[int, Sample]] = []
    for index, (_, sample) in enumerate(samples):
        if sample is not None:
            run.append((index, sample))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _gaps(samples: Series, step: float) -> Iterator[tuple[float, float]]:
    begin: int | None = None
    for index, (_, sample) in enumerate([*samples, (samples[-1][0], Sample())]):
        if sample is None:
            begin = index if begin is None else begin
        elif begin is not None:
            left = max(0.0, (begin - 1) * step)
            yield round(left, 1), round(min(float(WIDTH), index * step) - left, 1)
            begin = None


def _round_up(value: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50 …"""
    edge = 1
    while True:
        for factor in (1, 2, 5):
            if value <= edge * factor:
                return edge * factor
        edge *= 10


def _round_age(seconds: int) -> int:
    edges = [60 * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)]
    day = 86400
    return next((edge for edge in edges if seconds <= edge), -(-seconds // day) * day)


def _age(seconds: int) -> str:
    return duration(timedelta(seconds=seconds))
