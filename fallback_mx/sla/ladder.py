"""The ladder of credit: half-open steps of uptime, so that every percentage has one answer.

Percentages are Fractions of a hundred, exact. `flaws` says what keeps steps from being a ladder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from fallback_mx.sla.flaws import Flaw

ALL = Fraction(100)


@dataclass(frozen=True, slots=True)
class Step:
    """From `floor` up to, not including, `below` per cent of uptime the credit is `credit` per cent of the fees.

    `below` is None for the highest step, which has 100 % in it.
    """

    floor: Fraction
    below: Fraction | None
    credit: Fraction

    @property
    def top(self) -> Fraction:
        return ALL if self.below is None else self.below

    def covers(self, percent: Fraction) -> bool:
        return self.floor <= percent and (self.below is None or percent < self.below)


def step_at(steps: Sequence[Step], percent: Fraction) -> Step:
    """The step that an uptime stands on. Raises LookupError where the steps are no ladder."""
    for step in steps:
        if step.covers(percent):
            return step
    raise LookupError(f"no step for {percent} %")


def flaws(steps: Sequence[Step]) -> Iterator[Flaw]:
    """Every hole, overlap and step that gives less for less uptime. `steps` are in the order of the file."""
    if not steps:
        yield Flaw("step", "is missing", "write [[step]] with from, below and credit, once for each step of the ladder")
        return
    numbered = sorted(enumerate(steps), key=lambda pair: (pair[1].floor, pair[1].top))
    reached: Fraction | None = Fraction(0)
    previous: Step | None = None
    for index, step in numbered:
        key = f"step[{index}]"
        if reached is None or step.floor < reached:
            end = step.top if reached is None else min(reached, step.top)
            both = f"from {shown(step.floor)} up to {shown(end)} there are two steps"
            inside = reached is None or reached >= step.top
            yield Flaw(f"{key}.from", both, "take one of them out" if inside else f"write from = {shown(end)}")
        elif step.floor > reached:
            advice = f"write from = {shown(reached)}" if reached else "take its from out"
            wrong = f"there is no step from {shown(reached)} up to {shown(step.floor)}"
            yield Flaw(f"{key}.from", wrong, advice)
        if previous is not None and step.credit > previous.credit:
            wrong = f"is {shown(step.credit)} where the step below it has {shown(previous.credit)}"
            advice = f"write {shown(previous.credit)} or less: more uptime earns no more credit"
            yield Flaw(f"{key}.credit", wrong, advice)
        previous = step
        reached = None if reached is None or step.below is None else max(reached, step.below)
    if reached is not None:
        wrong = f"there is no step from {shown(reached)} up"
        yield Flaw(f"step[{numbered[-1][0]}].below", wrong, "take its below out")


def shown(value: Fraction) -> str:
    """A number that came from a decimal, as it was written."""
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    return f"{decimal.normalize():f}"
