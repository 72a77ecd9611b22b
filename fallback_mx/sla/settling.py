"""One primary's month, settled: its time divided, the raw and the settled figure, and what the agreement makes of them.

The raw figure counts all downtime that is neither maintenance nor excluded. The settled one leaves out what nobody
reported in time, where the agreement says so; credit and breach go by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from fallback_mx.sla.agreement import Agreement, Denominator
from fallback_mx.sla.exclusions import Annotation, standing
from fallback_mx.sla.figures import Figure, Verdict, allowance, fixed_allowance, proportional_allowance, verdict
from fallback_mx.sla.intervals import Interval, IntervalSet, difference, meet, total, within
from fallback_mx.sla.maintenance import Reason, maintenance, time_of
from fallback_mx.sla.parts import Division, divide
from fallback_mx.sla.reports import Report, reported
from fallback_mx.sla.windows import Window


@dataclass(frozen=True, slots=True)
class History:
    """What is on record of a primary. Everything is whole, not cut to the period, so that an outage over New Year is
    one outage in December and in January.

    `outages` are the confirmed ones, from first failure to recovery, those that touch as one; `down` is the part of
    them that somebody watched, `known` all time of which it is known whether the primary was up.
    """

    outages: IntervalSet = ()
    down: IntervalSet = ()
    known: IntervalSet = ()
    windows: tuple[Window, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """`division` is of `period`: the month, or what has passed of it. Allowances are seconds."""

    agreement: Agreement
    month: Interval
    division: Division
    maintenance: tuple[Reason, ...]
    exclusions: tuple[Annotation, ...]
    unreported: IntervalSet
    raw: Figure
    raw_verdict: Verdict
    settled: Figure
    verdict: Verdict
    allowance: Fraction
    fixed_allowance: Fraction
    proportional_allowance: Fraction

    @property
    def period(self) -> Interval:
        return self.division.period

    @property
    def counted(self) -> IntervalSet:
        """The downtime that the settled figure counts."""
        return _counted(self.division.down, self.unreported, self.agreement.settled_requires_report)

    @property
    def insufficient_data(self) -> bool:
        """Whether either figure may stand on another step, depending on what happened while nobody watched."""
        return self.raw_verdict.insufficient_data or self.verdict.insufficient_data


def settle(
    agreement: Agreement, region: str, month: Interval, period: Interval, history: History, customer_zone: ZoneInfo
) -> Settlement:
    """Settle `period`, which is `month` or what has passed of it."""
    maintained = maintenance(agreement, region, history.windows, period)
    exclusions = _excluded(agreement, history.annotations, period)
    division = divide(
        period,
        maintenance=time_of(maintained),
        excluded=(one.interval for one in exclusions),
        known=within(history.known, period),
        down=within(history.down, period),
    )
    outages = within(history.outages, period)
    told_of = reported(outages, history.reports, agreement.report_within_days, customer_zone)
    unreported = difference(division.down, told_of)
    denominator = _denominator(agreement, month, division)

    def figure(requires_report: bool) -> Figure:
        counted = _counted(division.down, unreported, requires_report)
        return Figure(total(counted), division.parts.unknown, denominator)

    raw, settled = figure(agreement.raw_requires_report), figure(agreement.settled_requires_report)
    return Settlement(
        agreement,
        month,
        division,
        maintained,
        exclusions,
        unreported,
        raw,
        verdict(agreement, raw),
        settled,
        verdict(agreement, settled),
        allowance(agreement, denominator),
        fixed_allowance(agreement),
        proportional_allowance(agreement, denominator),
    )


def _excluded(agreement: Agreement, annotations: Iterable[Annotation], period: Interval) -> tuple[Annotation, ...]:
    return tuple(
        one for one in standing(annotations) if one.category in agreement.excluded and meet(one.interval, period)
    )


def _counted(down: IntervalSet, unreported: IntervalSet, requires_report: bool) -> IntervalSet:
    return difference(down, unreported) if requires_report else down


def _denominator(agreement: Agreement, month: Interval, division: Division) -> timedelta:
    match agreement.denominator:
        case Denominator.MONTH:
            return month.length
        case Denominator.PERIOD:
            return division.period.length
        case Denominator.IN_SERVICE:
            parts = division.parts
            return parts.total - parts.maintenance - parts.excluded
