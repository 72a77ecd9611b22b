"""Which time an agreement takes for maintenance, and why: the weekly windows, and what was recorded.

Scheduled maintenance is maintenance for as long as the agreement allows, from its start; what runs longer is ordinary
time. Scheduled windows that touch are one: an hour and a minute cannot be written down as two windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fallback_mx.sla.agreement import Agreement, ScheduledMaintenance, StandingWindows, Weekly
from fallback_mx.sla.intervals import Interval, IntervalSet, intersection, meet
from fallback_mx.sla.windows import MaintenanceKind, Window


@dataclass(frozen=True, slots=True)
class Reason:
    """A time, and in words why it is what it is."""

    interval: Interval
    why: str


def maintenance(agreement: Agreement, region: str, windows: Iterable[Window], period: Interval) -> tuple[Reason, ...]:
    """All maintenance that reaches into `period`, in order of time.

    `windows` are whole, and those that touch one in the period are among them. A `region` that the agreement does not
    name has no weekly windows.
    """
    recorded = tuple(windows)
    weekly = tuple(occurrences(agreement, region, period))
    reasons = [
        Reason(window.interval, f"{window.kind} maintenance: {window.reason} ({window.author})")
        for window in recorded
        if window.kind != MaintenanceKind.SCHEDULED
    ]
    scheduled = tuple(_scheduled(agreement, recorded))
    if agreement.scheduled_maintenance is ScheduledMaintenance.WEEKLY:
        in_weekly = ((reason, intersection([reason.interval], weekly)) for reason in scheduled)
        scheduled = tuple(Reason(piece, reason.why) for reason, pieces in in_weekly for piece in pieces)
    reasons += scheduled
    if agreement.standing_windows is StandingWindows.ALWAYS:
        reasons += (Reason(interval, f"the weekly window of {region}") for interval in weekly)
    return tuple(sorted((one for one in reasons if meet(one.interval, period)), key=lambda one: one.interval))


def occurrences(agreement: Agreement, region: str, period: Interval) -> Iterator[Interval]:
    """The weekly windows of a region that reach into `period`, whole."""
    for weekly in agreement.weekly:
        if weekly.region == region:
            yield from _of_week(weekly, agreement.longest_maintenance, period)


def _of_week(weekly: Weekly, longest: timedelta, period: Interval) -> Iterator[Interval]:
    first = period.start.date() - timedelta(days=(period.start.weekday() - weekly.weekday) % 7)
    # The one before may still reach into the period.
    start = datetime.combine(first, weekly.at, UTC) - timedelta(days=7)
    while start < period.end:
        occurrence = Interval(start, start + longest)
        if meet(occurrence, period):
            yield occurrence
        start += timedelta(days=7)


def _scheduled(agreement: Agreement, windows: Sequence[Window]) -> Iterator[Reason]:
    """Each run of scheduled windows, as long as the agreement allows."""
    chosen = sorted(
        (window for window in windows if window.kind == MaintenanceKind.SCHEDULED), key=lambda window: window.interval
    )
    for start, end, run in _runs(chosen):
        words = "; ".join(dict.fromkeys(f"{window.reason} ({window.author})" for window in run))
        allowed = min(end, start + agreement.longest_maintenance)
        yield Reason(Interval(start, allowed), f"scheduled maintenance: {words}")


def _runs(windows: Iterable[Window]) -> Iterator[tuple[datetime, datetime, list[Window]]]:
    """Windows in order of time, those that touch together."""
    run: list[Window] = []
    end = datetime.min.replace(tzinfo=UTC)
    for window in windows:
        if run and window.interval.start > end:
            yield run[0].interval.start, end, run
            run = []
        end = max(end, window.interval.end) if run else window.interval.end
        run.append(window)
    if run:
        yield run[0].interval.start, end, run


def time_of(reasons: Iterable[Reason]) -> IntervalSet:
    return tuple(reason.interval for reason in reasons)
