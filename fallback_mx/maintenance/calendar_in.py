"""Reads maintenance from a calendar (iCalendar, RFC 5545): every event of it is one announcement.

A file from elsewhere is judged event by event: those that are good are returned, the others each with what is wrong.
Nothing is guessed: a rule that is not understood whole, or a repetition by the clock of a time zone that nobody knows,
is a flaw and no window. Raises ValueError where the file is no calendar at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Calendar
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from fallback_mx.maintenance import recurrence
from fallback_mx.maintenance.announcement import Times, check
from fallback_mx.maintenance.calendar_out import ANNOUNCED
from fallback_mx.sla.windows import MaintenanceKind
from fallback_mx.visible import visible

MAX_OCTETS = 10_000_000
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` and `announced_at` are None where the calendar does not say."""

    uid: str
    sequence: int
    times: Times
    reason: str
    kind: MaintenanceKind | None
    announced_at: datetime | None
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class Flaw:
    """An event that cannot be taken: its UID or summary, and what is wrong with it."""

    event: str
    wrong: str


def read(octets: bytes, zone: str) -> tuple[tuple[Event, ...], tuple[Flaw, ...]]:
    """The events, each UID once, and what is wrong with others. Times that name no time zone are by `zone`'s clock."""
    if len(octets) > MAX_OCTETS:
        raise ValueError(f"it is larger than {MAX_OCTETS // 1_000_000} MB")
    try:
        calendars = Calendar.from_ical(octets.decode("utf-8-sig"), multiple=True)
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # the last two where blocks are crossed
        raise ValueError(f"it is no calendar: {visible(str(error))[:MAX_REASON]}") from None
    found: dict[str, Event] = {}
    moved: list[tuple[str, datetime, Event]] = []
    flaws: list[Flaw] = []
    for component in (each for one in calendars for each in one.walk("VEVENT")):
        name = visible(str(component.get("uid") or component.get("summary") or "an event"))
        try:
            event = _event(component, zone)
            if (instead := component.get("recurrence-id")) is not None:
                moved.append((event.uid, _instead_of(instead, zone), event))
            elif event.uid in found:
                raise ValueError("its UID stands twice")
            else:
                found[event.uid] = event
        except (ValueError, OverflowError, ArithmeticError) as error:
            flaws.append(Flaw(name, str(error)))
    _move(found, moved)
    return tuple(found.values()), tuple(flaws)


def _move(found: dict[str, Event], moved: Sequence[tuple[str, datetime, Event]]) -> None:
    """One window of a series that is at another time, or not at all, is left out of it and stands by itself."""
    for uid, start, event in moved:
        if (series := found.get(uid)) is not None:
            without = tuple(sorted({*series.times.without, start}))
            found[uid] = replace(series, times=replace(series.times, without=without))
        if not event.is_cancelled:
            alone = f"{uid}#{start:%Y%m%dT%H%M%SZ}"
            found[alone] = replace(event, uid=alone, times=replace(event.times, rule=""))


def _event(component: Any, zone: str) -> Event:
    if component.errors:
        name, wrong = component.errors[0]
        raise ValueError(f"{name}: {visible(str(wrong))}")
    uid = str(component.get("uid", "")).strip()
    if not uid:
        raise ValueError("it has no UID, by which it could be known again")
    times = _times(component, zone)
    check(times)
    return Event(
        uid=visible(uid)[:MAX_REASON],
        sequence=int(component.get("sequence", 0)),
        times=times,
        reason=_reason(component),
        kind=_kind(component),
        announced_at=_announced_at(component),
        is_cancelled=str(component.get("status", "")).upper() == "CANCELLED",
    )


def _reason(component: Any) -> str:
    for name in ("description", "summary"):
        if text := str(component.get(name, "")).strip():
            return visible(text)[:MAX_REASON]
    return ""


def _kind(component: Any) -> MaintenanceKind | None:
    for each in component.categories:
        if str(each).lower() in set(MaintenanceKind):
            return MaintenanceKind(str(each).lower())
    return None


def _announced_at(component: Any) -> datetime | None:
    text = component.get(ANNOUNCED)
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _times(component: Any, zone: str) -> Times:
    begins = component.get("dtstart")
    if begins is None or isinstance(begins, list):
        raise ValueError("it wants one DTSTART")
    rule = _rule(component)
    start, named = _moment(begins.dt, begins.params.get("TZID"), zone, is_repeated=bool(rule))
    days, length = _length(component, begins.dt, start, zone)
    return Times(
        start,
        named,
        days,
        length,
        rule,
        extra=tuple(sorted(_moments(component.get("rdate"), zone))),
        without=tuple(sorted(_moments(component.get("exdate"), zone))),
    )


def _rule(component: Any) -> str:
    rule = component.get("rrule")
    if rule is None:
        return ""
    if isinstance(rule, list):
        raise ValueError("it has more than one RRULE")
    return str(recurrence.parse(rule.to_ical().decode()))


def _length(component: Any, begins: date | datetime, start: datetime, zone: str) -> tuple[int, timedelta]:
    """The days by the clock, and the time beside."""
    ends, lasts = component.get("dtend"), component.get("duration")
    if lasts is not None:
        # What was written as 24 hours and as one day is one and the same by now.
        length: timedelta = lasts.dt
        return length.days, length - timedelta(length.days)
    if not isinstance(begins, datetime):
        if ends is None:
            return 1, timedelta(0)
        if isinstance(ends.dt, datetime):
            raise ValueError("its DTSTART is a day and its DTEND is not")
        return (ends.dt - begins).days, timedelta(0)
    if ends is None:
        raise ValueError("it has neither DTEND nor DURATION: nobody knows how long it is")
    end, _ = _moment(ends.dt, ends.params.get("TZID"), zone, is_repeated=False)
    return 0, end - start


def _moments(lists: Any, zone: str) -> Iterator[datetime]:
    for one in [] if lists is None else lists if isinstance(lists, list) else [lists]:
        for each in one.dts:
            if not isinstance(each.dt, date):
                raise ValueError("an RDATE with an end of its own is not known here")
            yield _moment(each.dt, one.params.get("TZID"), zone, is_repeated=False)[0]


def _instead_of(instead: Any, zone: str) -> datetime:
    if instead.params.get("RANGE") is not None:
        raise ValueError("a RECURRENCE-ID with RANGE is not known here")
    return _moment(instead.dt, instead.params.get("TZID"), zone, is_repeated=False)[0]


def _moment(value: date | datetime, tzid: str | None, zone: str, *, is_repeated: bool) -> tuple[datetime, str]:
    """When it is, in UTC, and by the clock of which time zone."""
    if not isinstance(value, datetime):
        value = datetime.combine(value, datetime.min.time())
    value = value.replace(microsecond=0)
    named = zone if value.tzinfo is None and tzid is None else _zone(tzid or str(value.tzinfo))
    if named is not None:
        local = value.replace(tzinfo=None)
        # In a time zone of its own making a calendar may mean other hours than the name says; then its hours count.
        if value.tzinfo is None or value.utcoffset() == value.replace(tzinfo=ZoneInfo(named)).utcoffset():
            return recurrence.at(local, ZoneInfo(named)), named
    if value.tzinfo is None:
        raise ValueError(f"nobody knows the time zone {visible(str(tzid))}")
    if is_repeated:
        raise ValueError(f"it is repeated by the clock of {visible(str(tzid))}, which is no time zone that is known")
    return value.astimezone(UTC), "UTC"


def _zone(name: str) -> str | None:
    for each in (name, WINDOWS_TO_OLSON.get(name, "")):
        try:
            return ZoneInfo(each).key
        except (KeyError, ValueError, OSError):
            continue
    return None
