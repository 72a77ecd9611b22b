"""`fallback-mx maintenance import|export`: maintenance from a calendar (.ics), and as one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.maintenance_terms import (
    KINDS,
    announced_option,
    announced_when,
    book_of,
    is_late_next,
    read_zone,
    state_of,
    unannounced_option,
    whose,
)
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import called, print_json, say
from fallback_mx.spoken import counted

if TYPE_CHECKING:
    from fallback_mx.maintenance.calendar_in import Event, Flaw
    from fallback_mx.maintenance.importing import Changes


@click.command("import", short_help="Read maintenance from a calendar (.ics).")
@config_option
@json_option
@click.argument("file", type=click.File("rb"))
@click.option("--primary", metavar="NAME", help="Whose maintenance it is, or")
@click.option("--all", "everything", is_flag=True, help="of every primary.")
@click.option("--kind", type=click.Choice(KINDS), default="scheduled", show_default=True, help="Where it does not say.")
@click.option(
    "--time-zone", "zone", metavar="ZONE", default="UTC", show_default=True, help="Of times that do not say theirs."
)
@announced_option
@unannounced_option
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def import_(
    file: IO[bytes],
    primary: str | None,
    everything: bool,
    kind: str,
    zone: str,
    announced: str | None,
    unannounced: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Read maintenance from a calendar: a file, or "-" for standard input.

    An event is known again by its UID: what has not changed is left alone, what has is announced anew, and what the
    calendar cancels (STATUS:CANCELLED) is cancelled from now on. Events that are missing from it are not touched. What
    cannot be taken is named with the reason, and the code is 5.

    \b
    Examples:
      fallback-mx maintenance import provider.ics --primary main --dry-run
      curl -s https://example.org/maintenance.ics | fallback-mx maintenance import - --all --time-zone Europe/Prague
    """
    from fallback_mx.maintenance import schema
    from fallback_mx.maintenance.announcement import Entry
    from fallback_mx.maintenance.calendar_in import MAX_OCTETS, read
    from fallback_mx.maintenance.importing import Terms, changes
    from fallback_mx.sla.windows import MaintenanceKind

    now = datetime.now(UTC)
    told = announced_when(announced, unannounced, now)
    try:
        events, flaws = read(file.read(MAX_OCTETS + 1), read_zone(zone).key)
    except ValueError as error:
        complain(f"{called(file)} cannot be read: {error}")
        return FAILED
    with opened(schema.MIGRATIONS) as (store, settings):
        (name,) = whose(settings, [] if primary is None else [primary], everything)
        book = book_of(store)
        made = changes(events, book.entries().result(), Terms(name, MaintenanceKind(kind), told, actor(), now))
        if not dry_run:
            book.record(made.added, made.cancelled).result()
        late = sum(is_late_next(Entry(0, one), settings, now) for one in made.added)
    _tell(made, events, flaws, late, dry_run, as_json)
    for flaw in flaws:
        complain(f"{flaw.event}: {flaw.wrong}")
    if flaws:
        return PARTLY_DONE if events else FAILED
    return DONE if events else NOTHING_MATCHED


def _tell(
    made: Changes, events: tuple[Event, ...], flaws: tuple[Flaw, ...], late: int, dry_run: bool, as_json: bool
) -> None:
    figures = {
        "events": len(events),
        "added": len(made.added) - made.changed,
        "changed": made.changed,
        "cancelled": len(made.cancelled) - made.changed,
        "unchanged": made.unchanged,
        "outdated": len(made.outdated),
        "refused": len(flaws),
        "announced late": late,
    }
    if as_json:
        return print_json({key.replace(" ", "_"): value for key, value in figures.items()} | {"dry_run": dry_run})
    told = ", ".join(f"{number} {what}" for what, number in figures.items() if number and what != "events")
    return say(f"{counted(len(events), 'event')}: {told or 'nothing to do'}{' (dry run)' if dry_run else ''}.")


@click.command(short_help="Write maintenance as a calendar (.ics).")
@config_option
@json_option
@click.option("--primary", metavar="NAME", help="Of this primary, and what is of every one.")
@click.option("--past", is_flag=True, help="Also what is over.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.")
def export(primary: str | None, past: bool, output: Path | None, as_json: bool) -> int:
    """Write the maintenance that is on or to come, and what was cancelled of it, as a calendar to subscribe to.

    \b
    Examples:
      fallback-mx maintenance export --primary main > maintenance.ics
      fallback-mx maintenance export --past --output /var/www/maintenance.ics
    """
    from fallback_mx.cli.contracts import the_primary
    from fallback_mx.maintenance import schema
    from fallback_mx.maintenance.calendar_out import calendar

    now = datetime.now(UTC)
    with opened(schema.MIGRATIONS) as (store, settings):
        if primary is not None:
            the_primary(settings, primary)
        entries = book_of(store).entries().result()
    wanted = [
        one
        for one in entries
        if (primary is None or one.announcement.concerns(primary)) and (past or state_of(one, now) != "over")
    ]
    octets = calendar(wanted, now)
    if output is not None:
        output.write_bytes(octets)
    if as_json:
        told = {"calendar": octets.decode()} if output is None else {"output": str(output)}
        print_json({"events": len(wanted)} | told)
    elif output is None:
        click.echo(octets, nl=False)
    else:
        say(f"{output} is written: {counted(len(wanted), 'event')}.")
    return DONE
