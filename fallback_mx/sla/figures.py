"""Uptime as a figure with the bounds that unknown time leaves it, and what an agreement makes of it.

Everything is exact: percentages and allowances are Fractions, and they are cut only where they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from fallback_mx.sla.agreement import Agreement, Allowance, Rounding
from fallback_mx.sla.ladder import step_at

_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """Counted downtime against the time it is divided by. `unknown` is the time that may have been down as well."""

    counted: timedelta
    unknown: timedelta
    denominator: timedelta

    @property
    def percent(self) -> Fraction:
        """Uptime with unknown time as not down: the highest that it can have been."""
        return self._percent(self.counted)

    @property
    def lowest_percent(self) -> Fraction:
        """Uptime with all unknown time as down."""
        return self._percent(self.counted + self.unknown)

    def _percent(self, down: timedelta) -> Fraction:
        # Where there was no time to be up in, nothing of it was missed.
        if not self.denominator:
            return Fraction(100)
        return 100 * (1 - Fraction(down // _MICROSECOND, self.denominator // _MICROSECOND))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an agreement makes of a figure: the credit in per cent of the fees, and whether downtime was more than it
    allows. `lowest_credit` is the credit if all unknown time was down; the two differ only with `insufficient_data`."""

    credit: Fraction
    lowest_credit: Fraction
    breach: bool
    insufficient_data: bool


def verdict(agreement: Agreement, figure: Figure) -> Verdict:
    best = step_at(agreement.steps, decided_on(agreement, figure.percent))
    worst = step_at(agreement.steps, decided_on(agreement, figure.lowest_percent))
    breach = Fraction(figure.counted // _MICROSECOND, _SECOND) > allowance(agreement, figure.denominator)
    return Verdict(best.credit, worst.credit, breach, best != worst)


def decided_on(agreement: Agreement, percent: Fraction) -> Fraction:
    """The percentage by which the step is chosen."""
    scale = 10**agreement.decimals
    match agreement.rounding:
        case Rounding.EXACT:
            return percent
        case Rounding.CUT:
            return Fraction(percent * scale // 1, scale)
        case Rounding.HALF_UP:
            return Fraction((percent * scale + Fraction(1, 2)) // 1, scale)


def allowance(agreement: Agreement, denominator: timedelta) -> Fraction:
    """The seconds of downtime that break nothing."""
    if agreement.allowance is Allowance.FIXED:
        return fixed_allowance(agreement)
    return proportional_allowance(agreement, denominator)


def fixed_allowance(agreement: Agreement) -> Fraction:
    return Fraction(agreement.fixed_allowance // _MICROSECOND, _SECOND)


def proportional_allowance(agreement: Agreement, denominator: timedelta) -> Fraction:
    return (100 - agreement.target) / 100 * Fraction(denominator // _MICROSECOND, _SECOND)


def cut(value: Fraction, decimals: int = 6) -> Decimal:
    """A value for show, cut: it is never said to be more than it is."""
    return Decimal(value * 10**decimals // 1).scaleb(-decimals)
