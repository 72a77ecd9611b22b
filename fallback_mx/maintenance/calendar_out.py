"""Maintenance as a calendar (iCalendar, RFC 5545): one event for each announcement, with the time zones that it uses.

What was cancelled from some time on is repeated until then; what was cancelled before it began is an event that says
so, for calendars that have it already. A window that was ended early is given its full length: a calendar says what was
announced, not what came of it. Who announced it is left out: calendars are handed to customers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from icalendar import Calendar, Event, vRecur

from fallback_mx.maintenance import recurrence
from fallback_mx.maintenance.announcement import EVERY_PRIMARY, Announcement, Entry, Times

PRODUCT = "-//Fallback MX//maintenance//EN"
ANNOUNCED = "X-FALLBACK-MX-ANNOUNCED"
_SECOND = timedelta(seconds=1)


def calendar(entries: Iterable[Entry], now: datetime) -> bytes:
    """The calendar of these, which says the same for the same record but for the moment at which it was made."""
    every = tuple(entries)
    made = Calendar()
    made.add("prodid", PRODUCT)
    made.add("version", "2.0")
    made.add("method", "PUBLISH")
    for entry in every:
        made.add_component(_event(entry, now))
    if every:
        made.add_missing_timezones(first_date=min(entry.announcement.times.start for entry in every).date())
    return bytes(made.to_ical())


def _event(entry: Entry, now: datetime) -> Event:
    one = entry.announcement
    times = one.times
    event = Event()
    event.add("uid", one.uid)
    event.add("sequence", one.sequence + len(entry.cancellations))
    event.add("dtstamp", now.replace(microsecond=0))
    event.add("created", one.recorded_at.replace(microsecond=0))
    event.add("dtstart", _local(times, times.start))
    # A DURATION counts its days by the clock (RFC 5545, section 3.8.5.3), a DTEND does not.
    if times.days:
        event.add("duration", timedelta(times.days) + times.length)
    else:
        event.add("dtend", _local(times, times.start + times.length))
    since = entry.cancelled_since
    if times.rule:
        event.add("rrule", vRecur.from_ical(_rule(one, since)))
    without = [*times.without, *(each.start for each in entry.cancellations if each.start is not None)]
    for name, starts in (("exdate", without), ("rdate", times.extra)):
        if chosen := sorted({start for start in starts if since is None or start < since}):
            event.add(name, [start.astimezone(times.zone) for start in chosen])
    event.add("summary", summary(one))
    event.add("description", one.reason)
    event.add("categories", [one.kind.value])
    if one.announced_at is not None:
        event.add(ANNOUNCED, one.announced_at.astimezone(UTC).isoformat())
    event.add("status", "CANCELLED" if since is not None and since <= times.start else "CONFIRMED")
    return event


def _local(times: Times, moment: datetime) -> datetime:
    """By the clock of its time zone, unless that is the second of two equal hours, which a calendar cannot say."""
    local = moment.astimezone(times.zone)
    is_told = recurrence.at(local.replace(tzinfo=None), times.zone) == moment
    return local if is_told or times.rule else moment


def _rule(one: Announcement, since: datetime | None) -> str:
    rule = recurrence.parse(one.times.rule)
    until = rule.until(one.times.zone)
    if since is None or since <= one.times.start or (until is not None and until < since):
        return str(rule)
    last = max(one.times.start, since - _SECOND).astimezone(UTC)
    return f"{rule.without('UNTIL', 'COUNT')};UNTIL={last:%Y%m%dT%H%M%SZ}"


def summary(one: Announcement) -> str:
    return "Maintenance" if one.primary == EVERY_PRIMARY else f"Maintenance of {one.primary}"
