"""An agreement about uptime, as a frozen value: what is promised, what does not count, and what follows.

What each field means, and how the words of the shipped agreement are read, stands in docs/sla.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time, timedelta
from enum import StrEnum
from fractions import Fraction

from fallback_mx.sla.exclusions import Category
from fallback_mx.sla.ladder import Step


class Allowance(StrEnum):
    """How much downtime the target leaves: a fixed time each month, or its share of each month's length."""

    FIXED = "fixed"
    PROPORTIONAL = "proportional"


class Denominator(StrEnum):
    """What downtime is divided by: the whole calendar month, the period that the report is of (of a month that goes on,
    what has passed of it), or that without maintenance and excluded time."""

    MONTH = "month"
    PERIOD = "period"
    IN_SERVICE = "in_service"


class StandingWindows(StrEnum):
    """Whether the weekly windows are maintenance always, or only where maintenance was announced or recorded."""

    ALWAYS = "always"
    ANNOUNCED = "announced"


class ScheduledMaintenance(StrEnum):
    """Where recorded scheduled maintenance is excluded: wherever it was, or within the weekly windows alone."""

    ANYWHERE = "anywhere"
    WEEKLY = "weekly"


class Rounding(StrEnum):
    """What the step of the ladder is decided on: the exact uptime, or that with so many decimals."""

    EXACT = "exact"
    CUT = "cut"
    HALF_UP = "half_up"


class ClaimsFrom(StrEnum):
    """The day from which the days for a claim are counted: that of the breach; that on which the last outage ended that
    counts in a month that is broken; or the last day of the month."""

    BREACH = "breach"
    OUTAGE_END = "outage_end"
    MONTH_END = "month_end"


@dataclass(frozen=True, slots=True)
class Weekly:
    """A weekly maintenance window of one region: at a UTC time of day. `weekday` counts from Monday, 0."""

    region: str
    weekday: int
    at: time


@dataclass(frozen=True, slots=True)
class Agreement:
    """Percentages are Fractions of a hundred. `steps` is a ladder without holes or overlaps."""

    name: str
    title: str
    time_zone: str
    target: Fraction
    allowance: Allowance
    fixed_allowance: timedelta
    denominator: Denominator
    rounding: Rounding
    decimals: int
    steps: tuple[Step, ...]
    weekly: tuple[Weekly, ...]
    standing_windows: StandingWindows
    scheduled_maintenance: ScheduledMaintenance
    longest_maintenance: timedelta
    excluded: frozenset[Category]
    report_within_days: int
    raw_requires_report: bool
    settled_requires_report: bool
    claim_within_business_days: int
    claims_from: ClaimsFrom
    credit_terms: str

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.region for one in self.weekly))
