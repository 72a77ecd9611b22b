"""`fallback-mx maintenance list`: what was announced, or the windows of a month that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fallback_mx.cli.exits import DONE
from fallback_mx.cli.maintenance_terms import book_of, entry_json, is_late_next, notice_of, shown_window, state_of
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.cli.times import read_month
from fallback_mx.spoken import duration

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.maintenance.announcement import Entry
    from fallback_mx.sla.intervals import Interval
    from fallback_mx.sla.windows import Window

COLUMNS = ("ID", "PRIMARY", "KIND", "STATE", "START", "END", "RULE", "NOTICE", "BY", "REASON")
WINDOW_COLUMNS = ("ID", "PRIMARY", "KIND", "START", "END", "NOTICE", "BY", "REASON")


@click.command("list", short_help="List what was announced, or the windows of a month.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
@click.option("--past", is_flag=True, help="Also what is over or cancelled.")
@click.option("--windows", is_flag=True, help="Each window by itself, of the next 60 days.")
@click.option("--month", metavar="YYYY-MM", help="Each window of a month (UTC), what is over included.")
def list_(primary: str | None, past: bool, windows: bool, month: str | None, as_json: bool) -> int:
    """List the maintenance that is on or to come: START and END are those of the next window.

    NOTICE is how long before it those concerned were told, with "late" where that is less than the primary's
    maintenance_notice. Times are UTC. The windows of a month are those that it is settled with.

    \b
    Examples:
      fallback-mx maintenance list
      fallback-mx maintenance list --primary main --month 2026-11
      fallback-mx maintenance list --past --json | jq 'select(.late)'
    """
    from fallback_mx.maintenance import schema
    from fallback_mx.maintenance.windows import AHEAD
    from fallback_mx.sla.days import month_of
    from fallback_mx.sla.intervals import Interval

    now = datetime.now(UTC)
    period = Interval(now, now + AHEAD)
    if month is not None:
        year, _, number = read_month(month, now).partition("-")
        period = month_of(int(year), int(number), ZoneInfo("UTC"))
    with opened(schema.MIGRATIONS) as (store, settings):
        entries = book_of(store).entries().result()
    chosen = [one for one in entries if primary is None or one.announcement.concerns(primary)]
    if windows or month is not None:
        _print_windows(chosen, settings, period, as_json)
    else:
        wanted = [one for one in chosen if past or state_of(one, now) in ("on", "to come")]
        _print_entries(wanted, settings, now, as_json)
    return DONE


def _print_entries(entries: Sequence[Entry], settings: Config, now: datetime, as_json: bool) -> None:
    if as_json:
        for entry in entries:
            print_json(entry_json(entry, now, is_late_next(entry, settings, now)))
    elif entries:
        rows = [_row(entry, settings, now) for entry in entries]
        print_table(COLUMNS, rows, right=("ID",), fixed=("START", "END"))
    else:
        say("No maintenance is on or to come.")


def _row(entry: Entry, settings: Config, now: datetime) -> tuple[object, ...]:
    one = entry.announcement
    window = shown_window(entry, now)
    start, end = (None, None) if window is None else (window.interval.start, window.interval.end)
    rule = f"{one.times.rule} ({one.times.time_zone})" if one.times.rule else ""
    notice = "" if window is None else _notice(window, notice_of(entry, settings))
    by = one.author if not entry.cancellations else f"{one.author}; {entry.cancellations[-1].author}"
    reason = "; ".join(text for text in (one.reason, *(each.reason for each in entry.cancellations)) if text)
    named = one.primary or "(all)"
    return (entry.id, named, one.kind.value, state_of(entry, now), short(start), short(end), rule, notice, by, reason)


def _print_windows(entries: Sequence[Entry], settings: Config, period: Interval, as_json: bool) -> None:
    from fallback_mx.maintenance.windows import is_late

    found = [(entry, window) for entry in entries for window in entry.windows(period)]
    found.sort(key=lambda pair: (pair[1].interval, pair[0].id))
    if as_json:
        for entry, window in found:
            print_json(
                {
                    "id": entry.id,
                    "primary": entry.announcement.primary or None,
                    "kind": str(window.kind),
                    "start": window.interval.start,
                    "end": window.interval.end,
                    "announced_at": window.announced_at,
                    "late": is_late(window, notice_of(entry, settings)),
                    "reason": window.reason,
                    "author": window.author,
                }
            )
        return None
    if not found:
        return say(f"No maintenance from {short(period.start)} to {short(period.end)}.")
    rows = [
        (
            entry.id,
            entry.announcement.primary or "(all)",
            str(window.kind),
            short(window.interval.start),
            short(window.interval.end),
            _notice(window, notice_of(entry, settings)),
            window.author,
            window.reason,
        )
        for entry, window in found
    ]
    return print_table(WINDOW_COLUMNS, rows, right=("ID",), fixed=("START", "END"))


def _notice(window: Window, asked: timedelta) -> str:
    from fallback_mx.maintenance.windows import is_late

    late = " (late)" if is_late(window, asked) else ""
    if window.announced_at is None:
        return f"none{late}"
    given = window.interval.start - window.announced_at
    return f"{'after it began' if given < timedelta(0) else duration(given)}{late}"
