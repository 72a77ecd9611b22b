"""What is on record of the primaries for a page: 90 days in parts, the month, the outages. Read from the database.

Raises QueueError where that does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span
from fallback_mx.published.facts import DAYS, Day, Maintenance, Uptime
from fallback_mx.published.terms import Listed
from fallback_mx.settlement.book import SettlementBook
from fallback_mx.settlement.gathering import Record, records
from fallback_mx.settlement.month import Contract, settled
from fallback_mx.sla.days import midnight
from fallback_mx.sla.intervals import Interval, IntervalSet, within
from fallback_mx.sla.maintenance import maintenance
from fallback_mx.sla.parts import Division, Parts, divide
from fallback_mx.sla.settling import settle
from fallback_mx.sla.windows import Window

# Of what is further away nobody need be told yet.
AHEAD = timedelta(days=60)
_UTC = ZoneInfo("UTC")
_WEEK = timedelta(days=7)


class Windows(Protocol):
    """The maintenance that was announced of some primaries, as far as it reaches into a period. May block."""

    def __call__(self, primaries: Sequence[str], period: Interval, /) -> Mapping[str, Sequence[Window]]: ...


def no_windows(primaries: Sequence[str], period: Interval) -> Mapping[str, Sequence[Window]]:
    """Where nobody keeps a record of maintenance."""
    return {}


@dataclass(frozen=True, slots=True)
class Past:
    """One primary's."""

    days: tuple[Day, ...]
    spans: tuple[Span, ...]
    uptime: Uptime | None
    maintenance: tuple[Maintenance, ...]


def read_past(
    log: OutageLog, book: SettlementBook, windows: Windows, primaries: Sequence[Listed], now: datetime
) -> dict[str, Past]:
    """The past of each of these primaries, blocking."""
    names = [one.name for one in primaries]
    period = days_until(now)
    announced = windows(names, Interval(period.start, now + AHEAD))
    found = records(log, book, names, period, now, announced)
    return {one.name: past_of(one, found[one.name], now) for one in primaries}


def days_until(now: datetime) -> Interval:
    """The days of UTC that are shown, today as far as it has come."""
    return Interval(midnight(now.date() - timedelta(DAYS - 1), _UTC), now)


def past_of(listed: Listed, record: Record, now: datetime) -> Past:
    """What a record comes to, by what was promised of its primary."""
    period = days_until(now)
    contract, windows = listed.contract, record.history.windows
    return Past(
        tuple(days(_division(contract, record, period))),
        tuple(span for span in record.spans if span.interval.end > period.start),
        None if contract is None else _uptime(contract, record, now),
        upcoming(contract, windows, now),
    )


def _division(contract: Contract | None, record: Record, period: Interval) -> Division:
    history = record.history
    if contract is None:
        planned = (window.interval for window in history.windows)
        return divide(period, maintenance=planned, known=history.known, down=history.down)
    return settle(contract.agreement, contract.region, period, period, history, contract.customer.zone).division


def _uptime(contract: Contract, record: Record, now: datetime) -> Uptime:
    """The month by the agreement's calendar. What counts is what was measured, whether or not anybody reported it."""
    name = f"{now.astimezone(ZoneInfo(contract.agreement.time_zone)):%Y-%m}"
    settlement = settled(contract, name, record, now).settlement
    raw = settlement.raw
    allowed = timedelta(microseconds=int(settlement.allowance * 1_000_000))
    return Uptime(
        name,
        contract.agreement.title,
        contract.agreement.target,
        raw.percent,
        raw.lowest_percent,
        raw.counted,
        allowed,
        settlement.raw_verdict.breach,
    )


def days(division: Division) -> Iterator[Day]:
    """Each day of UTC that a period touches, and what its time was. One pass over each kind of time."""
    kinds = {
        "maintenance": division.maintenance,
        "excluded": division.excluded,
        "unknown": division.unknown,
        "down": division.down,
    }
    start = division.period.start
    while start < division.period.end:
        day = start.astimezone(UTC).date()
        end = min(midnight(day + timedelta(1), _UTC), division.period.end)
        of_day = {kind: _within(pieces, start, end) for kind, pieces in kinds.items()}
        yield Day(day, Parts(**of_day, up=end - start - sum(of_day.values(), timedelta(0))))
        start = end


def _within(pieces: IntervalSet, start: datetime, end: datetime) -> timedelta:
    """How long these are together between the two. They do not overlap."""
    lengths = (min(piece.end, end) - max(piece.start, start) for piece in within(pieces, Interval(start, end)))
    return sum(lengths, timedelta(0))


def upcoming(contract: Contract | None, windows: Sequence[Window], now: datetime) -> tuple[Maintenance, ...]:
    """The window that is on, and the next one: as it was announced, or the agreement's weekly one."""
    ahead = Interval(now, now + AHEAD)
    found = [(one.interval, one.reason, one.announced_at or one.interval.start - _WEEK) for one in windows]
    if contract is not None:
        # Those that were announced are here already, and whole.
        weekly = maintenance(contract.agreement, contract.region, (), ahead)
        found += [(one.interval, "the weekly window", one.interval.start - _WEEK) for one in weekly]
    known = [
        Maintenance(interval, why, since, is_on=interval.start <= now)
        for interval, why, since in sorted(found)
        if interval.end > now
    ]
    # Of several that are on, the last to end.
    on = sorted((one for one in known if one.is_on), key=lambda one: one.interval.end)
    return (*on[-1:], *[one for one in known if not one.is_on][:1])
