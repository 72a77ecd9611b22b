"""A month explained line by line: every outage in its pieces, what was taken out of it and why, and the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from fallback_mx.outages.spans import Span
from fallback_mx.settlement.month import Month
from fallback_mx.sla.agreement import Denominator
from fallback_mx.sla.figures import Figure, cut, decided_on
from fallback_mx.sla.intervals import Interval, IntervalSet, intersection, meet, total
from fallback_mx.sla.ladder import Step, shown, step_at
from fallback_mx.sla.reports import deadline
from fallback_mx.sla.settling import Settlement
from fallback_mx.visible import impersonal


class Kind(StrEnum):
    """What became of a piece of an outage."""

    MAINTENANCE = "maintenance"
    EXCLUDED = "excluded"
    UNKNOWN = "unknown"
    UNREPORTED = "unreported"
    COUNTED = "counted"
    SEEN_UP = "up"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the month that is all of one kind, and why."""

    interval: Interval
    kind: Kind
    why: str


@dataclass(frozen=True, slots=True)
class Explained:
    """An outage, as far as it lies in the month, in pieces that make up the whole of it."""

    span: Span
    pieces: tuple[Piece, ...]

    @property
    def counted(self) -> timedelta:
        return sum((one.interval.length for one in self.pieces if one.kind is Kind.COUNTED), timedelta(0))


def outages(month: Month) -> tuple[Explained, ...]:
    period = month.settlement.period
    touching = (span for span in month.record.spans if meet(span.interval, period))
    return tuple(Explained(span, tuple(_pieces(month, span))) for span in touching)


def taken_out(month: Month) -> tuple[Piece, ...]:
    """All time of the month that is neither up nor down, in order, and why."""
    division = month.settlement.division
    pieces = [
        *_maintenance(month.settlement, division.maintenance),
        *_excluded(month.settlement, division.excluded),
        *_unknown(month, division.unknown),
    ]
    return tuple(sorted(pieces, key=lambda piece: piece.interval))


def arithmetic(month: Month) -> Iterator[tuple[str, str]]:
    """Each figure with how it comes about, in the order in which they follow from each other."""
    settlement, agreement = month.settlement, month.contract.agreement
    parts = settlement.division.parts
    yield "period", f"{moment(settlement.period.start)} to {moment(settlement.period.end)}: {length(parts.total)}"
    yield "maintenance", length(parts.maintenance)
    yield "excluded", length(parts.excluded)
    yield "unknown", length(parts.unknown)
    yield "down", length(parts.down)
    yield "up", f"{length(parts.total)} − the four above = {length(parts.up)}"
    yield "divided by", f"{length(settlement.raw.denominator)}, {_DENOMINATORS[agreement.denominator]}"
    yield "uptime, raw", _uptime(settlement.raw)
    unreported = total(settlement.unreported)
    if agreement.settled_requires_report:
        counted = length(settlement.settled.counted)
        yield "reported in time", f"{length(parts.down)} − {length(unreported)} that nobody reported = {counted}"
    yield "uptime, settled", _uptime(settlement.settled)
    yield "allowance", _allowance(month)
    yield "breach", _breach(settlement)
    yield "credit", _credit(settlement)
    if settlement.insufficient_data:
        yield "insufficient data", "what happened while nobody watched decides which step of the ladder it is"
    if month.claim_until is not None:
        yield "claims", f"must arrive before {moment(month.claim_until)}"


_DENOMINATORS = {
    Denominator.MONTH: "the whole month",
    Denominator.PERIOD: "the period",
    Denominator.IN_SERVICE: "the period without maintenance and excluded time",
}


def _uptime(figure: Figure) -> str:
    text = f"100 × (1 − {length(figure.counted)} ÷ {length(figure.denominator)}) = {percent(figure.percent)} %"
    if figure.unknown:
        text += f"; {percent(figure.lowest_percent)} % if all {length(figure.unknown)} of unknown time were down"
    return text


def _allowance(month: Month) -> str:
    settlement, agreement = month.settlement, month.contract.agreement
    target = shown(agreement.target)
    fixed, share = minutes(settlement.fixed_allowance), minutes(settlement.proportional_allowance)
    goes_by = f"this agreement goes by the {'first' if agreement.allowance == 'fixed' else 'second'}"
    return f"{fixed} min fixed; {share} min by the share that {target} % leave; {goes_by}"


def _breach(settlement: Settlement) -> str:
    counted = Fraction(settlement.settled.counted // timedelta(microseconds=1), 60_000_000)
    comparison = "more than" if settlement.verdict.breach else "no more than"
    answer = "yes" if settlement.verdict.breach else "no"
    return f"{answer}: {minutes(counted * 60)} min counted are {comparison} {minutes(settlement.allowance)} min"


def _credit(settlement: Settlement) -> str:
    agreement = settlement.agreement
    step = step_at(agreement.steps, decided_on(agreement, settlement.settled.percent))
    return f"{shown(step.credit)} % of the month's fees: {steps_words(step)}"


def steps_words(step: Step) -> str:
    if step.below is None:
        return f"uptime is {shown(step.floor)} % or more"
    below = f"below {shown(step.below)} %"
    return f"uptime is {below}" if step.floor == 0 else f"uptime is {shown(step.floor)} % or more and {below}"


def _pieces(month: Month, span: Span) -> Iterator[Piece]:
    settlement = month.settlement
    division = settlement.division
    inside = intersection([span.interval], [settlement.period])
    unreported = settlement.unreported if settlement.agreement.settled_requires_report else ()
    pieces = [
        *_maintenance(settlement, intersection(inside, division.maintenance)),
        *_excluded(settlement, intersection(inside, division.excluded)),
        *_unknown(month, intersection(inside, division.unknown)),
        *(Piece(each, Kind.UNREPORTED, _unreported(month, span)) for each in intersection(inside, unreported)),
        *(Piece(each, Kind.COUNTED, cause(span)) for each in intersection(inside, settlement.counted)),
        *(Piece(each, Kind.SEEN_UP, "another node saw it up") for each in intersection(inside, division.up)),
    ]
    yield from sorted(pieces, key=lambda piece: piece.interval)


def _unreported(month: Month, span: Span) -> str:
    until = deadline(span.interval, month.contract.agreement.report_within_days, month.contract.customer.zone)
    return "nobody has reported it" if until is None else f"nobody reported it before {moment(until)}"


def _unknown(month: Month, pieces: IntervalSet) -> Iterator[Piece]:
    for piece in pieces:
        reasons = (reason.why for reason in month.record.unwatched if meet(reason.interval, piece))
        yield Piece(piece, Kind.UNKNOWN, "; ".join(dict.fromkeys(reasons)) or "nobody watched")


def _maintenance(settlement: Settlement, pieces: IntervalSet) -> Iterator[Piece]:
    for piece in pieces:
        reasons = (reason.why for reason in settlement.maintenance if meet(reason.interval, piece))
        yield Piece(piece, Kind.MAINTENANCE, "; ".join(dict.fromkeys(reasons)))


def _excluded(settlement: Settlement, pieces: IntervalSet) -> Iterator[Piece]:
    for piece in pieces:
        reasons = (
            f"{one.category.words}: {one.reason} ({one.author}, {moment(one.at)})"
            for one in settlement.exclusions
            if meet(one.interval, piece)
        )
        yield Piece(piece, Kind.EXCLUDED, "; ".join(dict.fromkeys(reasons)))


# Words ----------------------------------------------------------------------------------------------------------


def cause(span: Span) -> str:
    return f"{span.cause_phase}: {impersonal(span.cause_detail)}" if span.cause_detail else span.cause_phase


def moment(at: datetime) -> str:
    """A moment to the second, in UTC; with its microseconds where it has any."""
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{at.microsecond:06} UTC" if at.microsecond else f"{text} UTC"


def length(of: timedelta) -> str:
    """Seconds, exactly."""
    whole, rest = divmod(of, timedelta(seconds=1))
    microseconds = rest // timedelta(microseconds=1)
    return f"{whole:,}.{microseconds:06} s" if microseconds else f"{whole:,} s"


def percent(value: Fraction) -> str:
    return f"{cut(value):.6f}"


def minutes(of_seconds: Fraction) -> str:
    """Minutes, cut after six decimals and without the zeros behind."""
    return f"{cut(of_seconds / 60).normalize():f}"
