"""Calendar months and days of a time zone, as UTC intervals.

A month in which a zone changes to summer time or back is an hour shorter or longer than its days say.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fallback_mx.sla.intervals import Interval

BusinessDay = Callable[[date], bool]
"""Whether a day is a business day where the customer is."""


def month_of(year: int, month: int, zone: ZoneInfo) -> Interval:
    """One calendar month. Raises ValueError where there is no such month, or none after it."""
    return Interval(midnight(date(year, month, 1), zone), midnight(date(year + month // 12, month % 12 + 1, 1), zone))


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins, in UTC. Where the clocks skip midnight it is the moment of the change."""
    return datetime.combine(day, time(0), zone).astimezone(UTC)


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def after_days(moment: datetime, days: int, zone: ZoneInfo) -> datetime:
    """When so many days are over. The day of `moment` itself does not count."""
    return midnight(day_of(moment, zone) + timedelta(days + 1), zone)


def after_business_days(moment: datetime, days: int, zone: ZoneInfo, is_business_day: BusinessDay) -> datetime:
    """When so many business days are over. The day of `moment` itself does not count.

    Raises ValueError where a year has not so many business days.
    """
    day = day_of(moment, zone)
    left = days
    for _ in range(366 + 366 * days):
        if left == 0:
            return midnight(day + timedelta(1), zone)
        day += timedelta(1)
        left -= is_business_day(day)
    raise ValueError("a calendar without business days")
