"""Recurrence rules (RFC 5545, section 3.3.10) as far as they make sense for maintenance, and what they come to.

Pure. A rule counts by the wall clock of its time zone: a window at 22:00 is at 22:00 in summer and in winter. A local
time that the clocks skip is read with the offset before the change, one that comes twice is its first (RFC 5545,
section 3.3.5). A rule without an end costs only as much as the period that is asked for: nothing runs on for ever.
Rules are read strictly; what dateutil would take besides, or take to mean something else, raises ValueError.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import prod
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

_DAY = timedelta(days=1)
MOST_A_DAY = 24
_LEAP_YEAR = 2024
_WEEKDAYS = "MO|TU|WE|TH|FR|SA|SU"
_UNTIL = re.compile(r"([0-9]{8})(?:T([0-9]{6})(Z?))?")


def _numbers(lowest: int, highest: int) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        return all(
            re.fullmatch(r"[+-]?[0-9]{1,3}", each) is not None
            and lowest <= int(each) <= highest
            and (int(each) != 0 or lowest == 0)
            for each in text.split(",")
        )

    return fits


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


# dateutil knows BYEASTER besides, which no calendar program does.
_PARTS: Mapping[str, Callable[[str], bool]] = {
    "FREQ": _matches("DAILY|WEEKLY|MONTHLY|YEARLY"),
    "INTERVAL": _matches(r"[1-9][0-9]{0,2}"),
    "COUNT": _matches(r"[1-9][0-9]{0,3}"),
    "UNTIL": _matches(_UNTIL.pattern),
    "WKST": _matches(_WEEKDAYS),
    "BYDAY": _matches(rf"(?:[+-]?[0-9]{{1,2}})?(?:{_WEEKDAYS})(?:,(?:[+-]?[0-9]{{1,2}})?(?:{_WEEKDAYS}))*"),
    "BYMONTHDAY": _numbers(-31, 31),
    "BYYEARDAY": _numbers(-366, 366),
    "BYWEEKNO": _numbers(-53, 53),
    "BYMONTH": _numbers(1, 12),
    "BYSETPOS": _numbers(-366, 366),
    "BYHOUR": _numbers(0, 23),
    "BYMINUTE": _numbers(0, 59),
    "BYSECOND": _numbers(0, 59),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was read: its parts by name, values in capitals."""

    parts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return ";".join(f"{name}={value}" for name, value in self.parts)

    def part(self, name: str) -> str | None:
        return dict(self.parts).get(name)

    def without(self, *names: str) -> Rule:
        return Rule(tuple((name, value) for name, value in self.parts if name not in names))

    def until(self, zone: ZoneInfo) -> datetime | None:
        """The last moment at which an occurrence may begin, in UTC; None where the rule does not say.

        A date is the whole of that day, by the clock of the zone.
        """
        text = self.part("UNTIL")
        found = _UNTIL.fullmatch(text) if text is not None else None
        if found is None:
            return None
        day = date.fromisoformat(found[1])
        clock = time.max if found[2] is None else time.fromisoformat(found[2])
        return datetime.combine(day, clock, UTC if found[3] else zone).astimezone(UTC)


def parse(text: str) -> Rule:
    """A rule such as "FREQ=WEEKLY;BYDAY=TH". Raises ValueError with what is wrong with it."""
    parts: dict[str, str] = {}
    for each in text.strip().removeprefix("RRULE:").upper().split(";"):
        name, _, value = each.partition("=")
        if name in parts:
            raise ValueError(f"{name} stands twice")
        if name not in _PARTS:
            raise ValueError(f"{name or repr(each)} is no part of a rule; there are {', '.join(_PARTS)}")
        if name == "FREQ" and value in ("SECONDLY", "MINUTELY", "HOURLY"):
            raise ValueError(f"FREQ={value} is more often than maintenance can be; write DAILY or less often")
        if not _PARTS[name](value):
            raise ValueError(f"{name}={value} is not a value that {name} can have")
        parts[name] = value
    _check_together(parts)
    rule = Rule(tuple(parts.items()))
    try:
        rule.until(ZoneInfo("UTC"))
    except (ValueError, OverflowError):
        raise ValueError(f"UNTIL={parts['UNTIL']} is no day or time") from None
    return rule


def _check_together(parts: Mapping[str, str]) -> None:
    if "FREQ" not in parts:
        raise ValueError("FREQ is missing; write FREQ=WEEKLY, for example")
    if "UNTIL" in parts and "COUNT" in parts:
        raise ValueError("UNTIL and COUNT do not go together; write one of them")
    if parts["FREQ"] in ("DAILY", "WEEKLY") and re.search(r"[0-9]", parts.get("BYDAY", "")):
        raise ValueError(f"BYDAY={parts['BYDAY']} has numbers, which go with MONTHLY and YEARLY alone")
    for name, frequencies in (("BYWEEKNO", ("YEARLY",)), ("BYYEARDAY", ("YEARLY",)),
                              ("BYMONTHDAY", ("DAILY", "MONTHLY", "YEARLY"))):  # fmt: skip
        if name in parts and parts["FREQ"] not in frequencies:
            raise ValueError(f"{name} does not go with FREQ={parts['FREQ']}")
    if "BYMONTH" in parts and "BYMONTHDAY" in parts:
        # It would be looked for until the year 9999.
        shortest = min(abs(int(each)) for each in parts["BYMONTHDAY"].split(","))
        if shortest > max(monthrange(_LEAP_YEAR, int(each))[1] for each in parts["BYMONTH"].split(",")):
            raise ValueError(f"BYMONTH={parts['BYMONTH']} has no day {parts['BYMONTHDAY']}")
    if "BYSETPOS" in parts and not any(name.startswith("BY") and name != "BYSETPOS" for name in parts):
        raise ValueError("BYSETPOS wants another BY… to choose from")
    times = prod(len(set(parts[name].split(","))) for name in ("BYHOUR", "BYMINUTE", "BYSECOND") if name in parts)
    if times > MOST_A_DAY:
        raise ValueError(f"{times} times a day are more than {MOST_A_DAY}")


def starts(rule: Rule, first: datetime, zone: ZoneInfo, before: datetime) -> Iterator[datetime]:
    """When the occurrences begin that begin before `before`, in UTC; `first` is where the rule begins.

    `first` itself is among them only if the rule says so. They come in the order of the clock, which is that of time
    but for the hours in which it is changed.
    """
    wall = first.astimezone(zone).replace(tzinfo=None, fold=0)
    until = rule.until(zone)
    last = before if until is None else min(before, until)
    if last < first:
        return
    is_counted = rule.part("COUNT") is not None
    series = rrulestr(str(rule.without("UNTIL")), dtstart=wall)
    if not is_counted:
        # A clock is at most a day away from UTC.
        series = series.replace(until=last.replace(tzinfo=None) + 2 * _DAY)
    for local in series:
        if local.replace(tzinfo=UTC) > last + 2 * _DAY:
            return
        start = first if local == wall else at(local, zone)
        if start < before and (until is None or start <= until):
            yield start


def at(local: datetime, zone: ZoneInfo) -> datetime:
    """A wall clock's time in UTC."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)
