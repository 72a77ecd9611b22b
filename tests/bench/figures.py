"""What was measured and how it is shown: three runs a figure, their median, their ratio and the goal."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TextIO

Side = Literal["ours", "theirs"]


@dataclass
class Figure:
    """One line of the table: the runs of ours and of what they are held against, in one unit, and what was promised.

    `at_least` and `at_most` are goals for the ratio, `below` is one for our worst run.
    """

    what: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def add(self, side: Side, value: float) -> None:
        (self.ours if side == "ours" else self.theirs).append(value)

    @property
    def ratio(self) -> float | None:
        """The median of the runs' ratios: the two of one run were measured one after the other, under one weather."""
        pairs = list(zip(self.ours, self.theirs, strict=False))
        return median(ours / theirs for ours, theirs in pairs) if pairs else None

    @property
    def goal(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}x"
        if self.at_most is not None:
            return f"<= {self.at_most:g}x"
        return f"<= {self.below:g} {self.unit}".rstrip() if self.below is not None else ""

    @property
    def missed(self) -> bool | None:
        """None where there is no goal, or nothing to hold against it."""
        if self.at_least is not None:
            return None if self.ratio is None else self.ratio < self.at_least
        if self.at_most is not None:
            return None if self.ratio is None else self.ratio > self.at_most
        if self.below is not None and self.ours:
            return max(self.ours) > self.below
        return None


def show(figures: list[Figure], out: TextIO, *, sides: tuple[str, str] = ("ours", "Postfix")) -> None:
    """The table, then the goals that were missed; `sides` are the heads of the two columns."""
    header = ("what", *sides, "ratio", "goal", "", f"runs: {' | '.join(sides)}")
    rows = [header, *(_row(figure) for figure in figures if figure.ours or figure.theirs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=out)
    missed = [figure for figure in figures if figure.missed]
    print(file=out)
    for figure in missed:
        print(f"MISSED: {figure.what}: {_reached(figure)}, the goal is {figure.goal}", file=out)
    judged = [figure for figure in figures if figure.missed is not None]
    print(f"{len(judged) - len(missed)} of {len(judged)} goals reached.", file=out)


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = {True: "MISSED", False: "ok", None: ""}[figure.missed]
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}x"
    runs = " | ".join(" ".join(_number(run) for run in runs) for runs in (figure.ours, figure.theirs) if runs)
    return (
        figure.what,
        _median(figure.ours, figure.unit),
        _median(figure.theirs, figure.unit),
        ratio,
        figure.goal,
        verdict,
        runs,
    )


def _median(runs: list[float], unit: str) -> str:
    return f"{_number(median(runs))} {unit}".rstrip() if runs else "-"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}"


def _reached(figure: Figure) -> str:
    if figure.below is None:
        return f"{figure.ratio:.2f}x"
    return f"{_number(max(figure.ours))} {figure.unit}".rstrip()
