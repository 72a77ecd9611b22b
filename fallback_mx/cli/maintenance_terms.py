"""What the commands about maintenance have in common: how times, zones and primaries are written, and how an
announcement is shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from fallback_mx.cli.times import read_moment
from fallback_mx.durations import parse_duration

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.maintenance.announcement import Entry, Times
    from fallback_mx.maintenance.book import MaintenanceBook
    from fallback_mx.maintenance.windows import Upkeep
    from fallback_mx.sla.windows import Window
    from mxqueue import Queue

# As in fallback_mx.sla.windows.
KINDS = ("scheduled", "emergency", "customer")

announced_option = click.option(
    "--announced", metavar="TIME", help="When those concerned were told; otherwise they are told now."
)
unannounced_option = click.option("--unannounced", is_flag=True, help="Nobody was told.")


def book_of(store: Queue) -> MaintenanceBook:
    from fallback_mx.maintenance.book import MaintenanceBook

    return MaintenanceBook(store.writer.submit, store.read)


def whose(settings: Config, names: Sequence[str], everything: bool) -> list[str]:
    """The primaries that are meant, "" for every one. Raises click.UsageError."""
    from fallback_mx.cli.contracts import the_primary
    from fallback_mx.maintenance.announcement import EVERY_PRIMARY

    if everything == bool(names):
        raise click.UsageError("Say whose maintenance it is: names of primaries, or --all.")
    return [EVERY_PRIMARY] if everything else [the_primary(settings, name) for name in dict.fromkeys(names)]


def read_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise click.UsageError(f"--time-zone {name} is no time zone. Write a name such as Europe/Prague.") from None


def read_local(option: str, text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """A time to the second; one without a zone of its own is by the clock of `zone`. Raises click.UsageError."""
    from fallback_mx.cli.times import is_zoned
    from fallback_mx.maintenance.recurrence import at

    if text.strip().lower() == "now":
        return now.replace(microsecond=0)
    moment = read_moment(option, text).replace(microsecond=0)
    return moment if is_zoned(text) else at(moment.replace(tzinfo=None), zone)


def read_length(start: datetime, end: str | None, length: str | None, zone: ZoneInfo, now: datetime) -> timedelta:
    """From --end or --for, one of which is wanted. Raises click.UsageError."""
    if (end is None) == (length is None):
        raise click.UsageError("Say how long it is: --for 1h, or --end with a time.")
    if end is not None:
        return read_local("--end", end, zone, now) - start
    assert length is not None
    try:
        return parse_duration(length)
    except ValueError:
        raise click.UsageError(f"--for {length} is not a duration. Write one such as 30m or 1h.") from None


def announced_when(announced: str | None, unannounced: bool, now: datetime) -> datetime | None:
    if announced is not None and unannounced:
        raise click.UsageError("--announced and --unannounced do not go together.")
    if announced is None:
        return None if unannounced else now
    moment = read_moment("--announced", announced)
    if moment > now:
        raise click.UsageError(f"--announced {announced} is still to come.")
    return moment


def checked(times: Times) -> Times:
    """These times, if they are some for maintenance. Raises click.UsageError."""
    from fallback_mx.maintenance.announcement import check

    try:
        check(times)
    except ValueError as error:
        raise click.UsageError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    return times


def notice_of(entry: Entry, settings: Config) -> timedelta:
    """The notice that is asked for; the longest of all primaries where it is of every one."""
    asked = [one.maintenance_notice for one in settings.primaries if entry.announcement.concerns(one.name)]
    return max(asked, default=timedelta(0))


def is_late_next(entry: Entry, settings: Config, now: datetime) -> bool:
    """Whether its window that is on, the next otherwise, is announced later than asked for."""
    from fallback_mx.maintenance.windows import is_late

    shown = shown_window(entry, now)
    return shown is not None and is_late(shown, notice_of(entry, settings))


def shown_window(entry: Entry, now: datetime) -> Window | None:
    """The one that is on, otherwise the next within a year; the first there was where there is neither."""
    from fallback_mx.sla.intervals import Interval

    times = entry.announcement.times
    coming = [one for one in entry.windows(Interval(now, now + timedelta(366))) if one.interval.end > now]
    return next(iter(coming or entry.windows(Interval(times.start, times.start + times.longest))), None)


def entry_json(entry: Entry, now: datetime, is_late: bool) -> dict[str, Any]:
    """An announcement as programs get it."""
    one = entry.announcement
    shown = shown_window(entry, now)
    return {
        "id": entry.id,
        "primary": one.primary or None,
        "kind": one.kind.value,
        "start": one.times.start,
        "days": one.times.days,
        "length_seconds": one.times.length.total_seconds(),
        "time_zone": one.times.time_zone,
        "rule": one.times.rule or None,
        "announced_at": one.announced_at,
        "late": is_late,
        "state": state_of(entry, now),
        "window": None if shown is None else {"start": shown.interval.start, "end": shown.interval.end},
        "reason": one.reason,
        "author": one.author,
        "recorded_at": one.recorded_at,
        "uid": one.uid,
        "cancelled": [
            {
                "since": each.since,
                "window": each.start,
                "reason": each.reason,
                "author": each.author,
                "at": each.recorded_at,
            }
            for each in entry.cancellations
        ],
    }


def state_of(entry: Entry, now: datetime) -> str:
    """Is it on, is it to come, is it over, or cancelled?"""
    from fallback_mx.maintenance.announcement import LATEST
    from fallback_mx.sla.intervals import Interval

    # A rule that has anything to come has it within ten years.
    ahead = entry.windows(Interval(now, min(LATEST, max(now, entry.announcement.times.start) + timedelta(3660))))
    if ahead:
        return "on" if ahead[0].interval.start <= now else "to come"
    return "over" if entry.cancelled_since is None else "cancelled"


def upkeeps(store: Queue, settings: Config, now: datetime) -> dict[str, Upkeep]:
    """How each configured primary stands. Raises QueueError."""
    from fallback_mx.maintenance.windows import upkeep_of

    entries = book_of(store).entries().result()
    return {one.name: upkeep_of(entries, one.name, now) for one in settings.primaries}
