"""Reports of downtime by those who suffered it, and which outages they make count.

An outage counts as reported if a report of it arrives in time: from its start on, and within so many days after its
end. The report need not know the exact times: one that touches an outage is of the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from fallback_mx.sla.days import after_days
from fallback_mx.sla.intervals import Interval, IntervalSet, union

_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Report:
    """That a primary was down in `interval`, told by `contact`; it arrived at `at`. An empty interval is a moment."""

    primary: str
    interval: Interval
    contact: str
    at: datetime


def reported(outages: Iterable[Interval], reports: Iterable[Report], within_days: int, zone: ZoneInfo) -> IntervalSet:
    """Of the outages those that count as reported, whole. `outages` are whole too: the deadline runs from their end.

    The days are those of the customer's `zone`, the day of the end itself not among them. An outage that goes on has no
    deadline yet.
    """
    runs = union(outages)
    if not runs:
        return ()
    hull = Interval(runs[0].start, runs[-1].end)
    made = tuple(report for report in reports if touches(report.interval, hull))
    return tuple(run for run in runs if _told_of(run, made, within_days, zone))


def deadline(outage: Interval, within_days: int, zone: ZoneInfo) -> datetime | None:
    """Before when a report of the outage must arrive; None while it goes on."""
    # An end in the year 9999 is none in sight.
    return None if outage.end.year == _FOREVER.year else after_days(outage.end, within_days, zone)


def _told_of(outage: Interval, reports: Iterable[Report], within_days: int, zone: ZoneInfo) -> bool:
    told = [report for report in reports if touches(report.interval, outage)]
    if not told:
        return False
    until = deadline(outage, within_days, zone)
    return any(outage.start <= report.at and (until is None or report.at < until) for report in told)


def touches(told: Interval, outage: Interval) -> bool:
    """Whether what was told of, an interval or a moment, has to do with an outage."""
    if told.start == told.end:
        return outage.start <= told.start < outage.end
    return told.start < outage.end and outage.start < told.end
