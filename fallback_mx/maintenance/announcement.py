"""What is on record of maintenance: an announcement, once or again and again, and the cancellations of it.

Frozen values. `occurrences` expands an announcement into the intervals it comes to, `Entry.windows` into those that
stand after all cancellations. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from fallback_mx.maintenance import recurrence
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.windows import MaintenanceKind, Window

EVERY_PRIMARY = ""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=31)
# A rule that does not come to anything in so long is a mistake.
_LONG = timedelta(days=366 * 10)


@dataclass(frozen=True, slots=True)
class Times:
    """When it is. `start` is that of the first window, in UTC; `rule` repeats it by the clock of `time_zone`.

    A window lasts `days` by that clock, then `length` exactly (RFC 5545, section 3.8.5.3, tells the two apart).
    `extra` are starts besides the rule's, `without` are starts that are left out. What comes from outside is to be
    `check`ed; what is on record was.
    """

    start: datetime
    time_zone: str
    days: int
    length: timedelta
    rule: str = ""
    extra: tuple[datetime, ...] = ()
    without: tuple[datetime, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def longest(self) -> timedelta:
        """No window is longer: a day by the clock may have an hour more, or a zone be moved by a day."""
        return timedelta(2 * self.days) + self.length

    def _of_rule(self, before: datetime) -> Iterator[datetime]:
        if not self.rule:
            return iter([self.start])
        return recurrence.starts(recurrence.parse(self.rule), self.start, self.zone, before)

    def interval(self, start: datetime) -> Interval:
        """The window that begins then."""
        end = start
        if self.days:
            local = start.astimezone(self.zone).replace(tzinfo=None) + timedelta(self.days)
            end = max(start, recurrence.at(local, self.zone))
        return Interval(start, end + self.length)

    def occurrences(self, period: Interval) -> tuple[Interval, ...]:
        """The windows that reach into `period`, whole, in order."""
        starts = {*self._of_rule(period.end), *self.extra} - set(self.without)
        near = sorted(start for start in starts if period.start - self.longest < start < period.end)
        return tuple(one for one in map(self.interval, near) if one.end > period.start)


def check(times: Times) -> None:
    """Raise ValueError, in words that an operator can use, unless it is a time for maintenance."""
    if not all(EARLIEST <= start < LATEST for start in (times.start, *times.extra)):
        raise ValueError(f"it is not between {EARLIEST.year} and {LATEST.year}")
    if times.days < 0 or not timedelta() < timedelta(times.days) + times.length <= LONGEST:
        raise ValueError(f"a window lasts more than nothing and at most {LONGEST.days} days")
    if not times.rule:
        return
    rule = recurrence.parse(times.rule)
    found = list(islice(recurrence.starts(rule, times.start, times.zone, times.start + _LONG), 1))
    if not found:
        raise ValueError(f"{times.rule} does not come to a single window within ten years")
    if found[0] != times.start:
        start, first = (f"{each.astimezone(times.zone):%A %Y-%m-%d %H:%M}" for each in (times.start, found[0]))
        raise ValueError(f"{start} is none of {times.rule}; the first one after it is {first}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """Maintenance of one primary, or of every one, as it was announced or put on record.

    `announced_at` is when those concerned were told, None where they were not. `uid` and `sequence` are the calendar
    event's, by which it is known again when a calendar is read once more.
    """

    primary: str
    kind: MaintenanceKind
    times: Times
    announced_at: datetime | None
    reason: str
    author: str
    recorded_at: datetime
    uid: str
    sequence: int = 0

    def concerns(self, primary: str) -> bool:
        return self.primary in (EVERY_PRIMARY, primary)


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Nothing of an announcement stands from `since` on: of all its windows, or of the one that begins at `start`.

    What is over by then stays on record, and a window that is on ends there.
    """

    since: datetime
    start: datetime | None
    reason: str
    author: str
    recorded_at: datetime

    def left_of(self, start: datetime, window: Interval) -> Interval | None:
        """What it leaves of the window that was to begin at `start`."""
        if self.start not in (None, start) or window.end <= self.since:
            return window
        return Interval(window.start, self.since) if window.start < self.since else None


@dataclass(frozen=True, slots=True)
class Entry:
    """An announcement with its number on record and what was cancelled of it, in the order in which it was."""

    id: int
    announcement: Announcement
    cancellations: tuple[Cancellation, ...] = ()

    def windows(self, period: Interval) -> tuple[Window, ...]:
        """What stands of it, as far as it reaches into `period`, each window whole."""
        return tuple(window for start in self.announcement.times.occurrences(period) if (window := self._window(start)))

    def _window(self, announced: Interval) -> Window | None:
        left: Interval | None = announced
        for each in self.cancellations:
            left = None if left is None else each.left_of(announced.start, left)
        if left is None:
            return None
        one = self.announcement
        return Window(left, one.kind, one.announced_at, one.reason, one.author)

    @property
    def cancelled_since(self) -> datetime | None:
        """From when nothing of it stands; None where something may."""
        return min((each.since for each in self.cancellations if each.start is None), default=None)
