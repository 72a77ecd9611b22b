"""What follows from the record of maintenance: the windows of a primary, which is on and which is next, and whether
notice was given in time. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fallback_mx.maintenance.announcement import LONGEST, Entry
from fallback_mx.sla.intervals import Interval, union
from fallback_mx.sla.windows import MaintenanceKind, Window

# Windows that touch are settled as one: what touches a window of the period is wanted with it.
_AROUND = LONGEST + timedelta(days=1)
# Of what is further away nobody need be told yet.
AHEAD = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How a primary stands: the window that is on and until when it is one or another, and the next after that."""

    on: Window | None = None
    until: datetime | None = None
    next: Window | None = None


NONE = Upkeep()


def windows_of(entries: Iterable[Entry], primary: str, period: Interval) -> tuple[Window, ...]:
    """The windows of a primary that reach into `period`, in order of time; none twice."""
    found = {window for entry in entries if entry.announcement.concerns(primary) for window in entry.windows(period)}
    return tuple(sorted(found, key=lambda window: (window.interval, window.reason, window.author)))


def settled_windows(
    entries: Iterable[Entry], primaries: Iterable[str], period: Interval
) -> Mapping[str, tuple[Window, ...]]:
    """What a settlement of `period` wants: each primary's windows in it, and those around that may touch them."""
    every = tuple(entries)
    wide = Interval(period.start - _AROUND, period.end + _AROUND)
    return {primary: windows_of(every, primary, wide) for primary in primaries}


def upkeep(windows: Iterable[Window], now: datetime) -> Upkeep:
    """How it stands at a moment, of windows in order of time. Of several that are on the last to end is named."""
    every = tuple(windows)
    on = max((one for one in every if one.interval.start <= now < one.interval.end), key=_end, default=None)
    if on is None:
        return Upkeep(next=next((one for one in every if one.interval.start > now), None))
    (until,) = (run.end for run in union(one.interval for one in every) if run.start <= now < run.end)
    return Upkeep(on, until, next((one for one in every if one.interval.start > until), None))


def upkeep_of(entries: Iterable[Entry], primary: str, now: datetime) -> Upkeep:
    """How a primary stands at a moment, by the record; what is next is looked for within AHEAD."""
    return upkeep(windows_of(entries, primary, around(now)), now)


def around(now: datetime) -> Interval:
    """The time of which it is to be known what is on and what is next."""
    return Interval(now - _AROUND, now + AHEAD)


def _end(window: Window) -> datetime:
    return window.interval.end


def is_late(window: Window, notice: timedelta) -> bool:
    """Whether less notice was given than `notice`. Of an emergency nobody expects any, and who asks for maintenance
    knows of it."""
    if window.kind != MaintenanceKind.SCHEDULED or not notice:
        return False
    return window.announced_at is None or window.interval.start - window.announced_at < notice
