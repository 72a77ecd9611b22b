"""`fallback-mx maintenance add|list|cancel|import|export`: when a primary is away on purpose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from fallback_mx.cli import maintenance_calendar, maintenance_list
from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, complain
from fallback_mx.cli.maintenance_terms import (
    KINDS,
    announced_option,
    announced_when,
    book_of,
    checked,
    entry_json,
    is_late_next,
    read_length,
    read_local,
    read_zone,
    unannounced_option,
    whose,
)
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import print_json, say, short
from fallback_mx.cli.times import read_moment
from fallback_mx.visible import visible

if TYPE_CHECKING:
    from fallback_mx.maintenance.announcement import Cancellation, Entry

_MOMENT = timedelta(microseconds=1)


@click.group()
@config_option
@json_option_of_group
def maintenance() -> None:
    """Announce maintenance, once or again and again, and cancel it.

    While it lasts mail is taken and alarms about the primary are quiet. An outage is on record all the same; what of it
    lies within is no downtime by the agreement, and what goes on beyond counts.

    \b
    Examples:
      fallback-mx maintenance add main --start 2026-12-03T22:00 --time-zone Europe/Prague --for 1h --reason "new disks"
      fallback-mx maintenance list
      fallback-mx maintenance cancel 3 --reason "done early"
      fallback-mx maintenance export > maintenance.ics
    """


maintenance.add_command(maintenance_list.list_)
maintenance.add_command(maintenance_calendar.import_)
maintenance.add_command(maintenance_calendar.export)


@maintenance.command(short_help="Announce maintenance, or put it on record.")
@config_option
@json_option
@click.argument("names", metavar="[PRIMARY]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Of every primary.")
@click.option("--start", metavar="TIME", required=True, help='When, such as 2026-12-03T22:00, or "now".')
@click.option("--end", metavar="TIME", help="Until when, or")
@click.option("--for", "length", metavar="TIME", help="for how long, such as 30m or 1h.")
@click.option("--time-zone", "zone", metavar="ZONE", default="UTC", show_default=True, help="By whose clock.")
@click.option("--rule", metavar="RRULE", default="", help='How it is repeated, such as "FREQ=WEEKLY;BYDAY=TH".')
@click.option("--kind", type=click.Choice(KINDS), default="scheduled", show_default=True, help="What it is.")
@announced_option
@unannounced_option
@click.option("--reason", metavar="TEXT", default="", help="Why; shown in status, reports and calendars.")
def add(
    names: tuple[str, ...],
    everything: bool,
    start: str,
    end: str | None,
    length: str | None,
    zone: str,
    rule: str,
    kind: str,
    announced: str | None,
    unannounced: bool,
    reason: str,
    as_json: bool,
) -> int:
    """Announce maintenance of a primary, or put on record that there was some.

    A rule is that of calendars (RFC 5545): FREQ=WEEKLY;BYDAY=TH, FREQ=MONTHLY;BYDAY=1SU, with COUNT or UNTIL to end
    it. It goes by the clock of the time zone, through changes to summer time and back. The first window is that of
    --start. Those concerned count as told now, unless --announced says when they were.

    \b
    Examples:
      fallback-mx maintenance add main --start 2026-12-03T22:00 --time-zone Europe/Prague --for 1h
      fallback-mx maintenance add main --start 2026-12-03T20:00 --for 1h --rule "FREQ=WEEKLY;BYDAY=TH"
      fallback-mx maintenance add --all --start now --for 30m --kind emergency --reason "a leak in OpenSSL"
    """
    from fallback_mx.maintenance import schema
    from fallback_mx.maintenance.announcement import Announcement, Entry, Times
    from fallback_mx.maintenance.recurrence import parse
    from fallback_mx.sla.windows import MaintenanceKind
    from mxqueue.ids import Ids
    from mxqueue.model import utc_now

    now = datetime.now(UTC)
    by = read_zone(zone)
    begins = read_local("--start", start, by, now)
    lasts = read_length(begins, end, length, by, now)
    told = announced_when(announced, unannounced, now)
    try:
        repeats = str(parse(rule)) if rule else ""
    except ValueError as error:
        raise click.UsageError(f"--rule {rule}: {error}.") from None
    times = checked(Times(begins, by.key, 0, lasts, repeats))
    ids = Ids(utc_now)
    with opened(schema.MIGRATIONS) as (store, settings):
        host = settings.server.hostname
        made = [
            Announcement(name, MaintenanceKind(kind), times, told, visible(reason), actor(), now, f"{ids.new()}@{host}")
            for name in whose(settings, names, everything)
        ]
        numbers = book_of(store).record(made).result()
    entries = [Entry(number, one) for number, one in zip(numbers, made, strict=True)]
    for entry in entries:
        late = is_late_next(entry, settings, now)
        if as_json:
            print_json(entry_json(entry, now, late))
            continue
        of = entry.announcement.primary or "every primary"
        again = f", then {repeats} by the clock of {by.key}" if repeats else ""
        notice = " It is announced late: less notice than maintenance_notice asks for." if late else ""
        say(f"{entry.id}: maintenance of {of} from {short(begins)} to {short(begins + lasts)}{again}.{notice}")
    return DONE


@maintenance.command(short_help="Cancel what is still to come, or one window.")
@config_option
@json_option
@click.argument("number", metavar="ID", type=int)
@click.option("--window", metavar="TIME", help="Only the window that begins then.")
@click.option("--entirely", is_flag=True, help="As if it had never been, what is over included.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; kept on record with your name.")
def cancel(number: int, window: str | None, entirely: bool, reason: str, as_json: bool) -> int:
    """Cancel maintenance from now on: what is to come does not take place, and what is on ends now.

    Windows that are over stay, unless --entirely says that they were put on record by mistake. Everything remains to be
    seen with `maintenance list --past`.

    \b
    Examples:
      fallback-mx maintenance cancel 3 --reason "done early"
      fallback-mx maintenance cancel 4 --window 2026-12-24T20:00Z --reason "not on Christmas Eve"
      fallback-mx maintenance cancel 5 --entirely --reason "it was the other primary"
    """
    from fallback_mx.maintenance import schema
    from fallback_mx.maintenance.announcement import EARLIEST, Cancellation
    from fallback_mx.sla.intervals import Interval

    now = datetime.now(UTC)
    start = None if window is None else read_moment("--window", window)
    if not reason.strip():
        raise click.UsageError("--reason is empty. Whoever reads the report wants to know why.")
    with opened(schema.MIGRATIONS) as (store, _):
        book = book_of(store)
        meant = next((entry for entry in book.entries().result() if entry.id == number), None)
        if meant is None:
            complain(f"there is no maintenance {number}. See: fallback-mx maintenance list --past")
            return NOTHING_MATCHED
        times = meant.announcement.times
        if start is not None and start not in [
            one.start for one in times.occurrences(Interval(start, start + _MOMENT))
        ]:
            complain(f"no window of {number} begins at {short(start)}. See: fallback-mx maintenance list --windows")
            return NOTHING_MATCHED
        since = EARLIEST if entirely else now
        made = Cancellation(since, start, visible(reason), actor(), now)
        if not entirely and not _takes_away(meant, made, now):
            complain(f"nothing of {number} is left to cancel; --entirely takes back what is over, too")
            return FAILED
        book.record([], [(number, made)]).result()
    if as_json:
        print_json({"id": number, "since": since, "window": start, "author": made.author, "reason": made.reason})
    else:
        what = "maintenance" if start is None else f"the window of {short(start)}"
        say(f"{number}: {what} is cancelled{', as if it had never been' if entirely else ''}.")
    return DONE


def _takes_away(entry: Entry, made: Cancellation, now: datetime) -> bool:
    """Whether anything that is on or to come would stand without it."""
    from fallback_mx.maintenance.announcement import LATEST, LONGEST, Entry
    from fallback_mx.sla.intervals import Interval

    start = entry.announcement.times.start if made.start is None else made.start
    # What there is after ten years is there before.
    period = Interval(now - LONGEST, min(LATEST, max(now, start) + timedelta(3660)))
    after = Entry(entry.id, entry.announcement, (*entry.cancellations, made))
    return after.windows(period) != entry.windows(period)
