"""`fallback-mx sla reported add|list`: downtime that customers reported. Many agreements count no other."""

from __future__ import annotations

import click

from fallback_mx.cli.contracts import book_of, the_primary
from fallback_mx.cli.exits import DONE
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.cli.times import read_interval, read_moment

COLUMNS = ("ID", "PRIMARY", "FROM", "TO", "CONTACT", "ARRIVED", "WRITTEN DOWN BY")


@click.group()
@config_option
@json_option_of_group
def reported() -> None:
    """Keep the reports of downtime that customers make.

    \b
    Examples:
      fallback-mx sla reported list --primary main
    """


@reported.command(short_help="Write down a report of downtime.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", required=True, help="What was down.")
@click.option("--from", "start", metavar="TIME", required=True, help="Since when it was, as the customer says.")
@click.option("--to", "end", metavar="TIME", help="Until when; otherwise it is about the moment of --from.")
@click.option("--contact", metavar="TEXT", required=True, help="Who reported it.")
@click.option("--at", metavar="TIME", help="When the report arrived; otherwise now.")
def add(primary: str, start: str, end: str | None, contact: str, at: str | None, as_json: bool) -> int:
    """Write down a report of downtime. The times need not be exact: a report that touches an outage is of all of it.

    \b
    Examples:
      fallback-mx sla reported add --primary main --from 2026-11-05T10:00Z --contact carol@example.org
    """
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.entries import ReportEntry
    from fallback_mx.settlement.schema import MIGRATIONS
    from fallback_mx.sla.intervals import Interval
    from fallback_mx.sla.reports import Report
    from mxqueue.ids import Ids
    from mxqueue.model import utc_now

    moment = read_moment("--from", start)
    interval = Interval(moment, moment) if end is None else read_interval(start, end)
    arrived = utc_now() if at is None else read_moment("--at", at)
    with opened(MIGRATIONS) as (store, settings):
        report = Report(the_primary(settings, primary), interval, contact, arrived)
        entry = ReportEntry(Ids(utc_now).new(), report, actor(), utc_now())
        book_of(store).report(entry).result()
    if as_json:
        print_json(data(entry))
    else:
        say(f"{entry.id}: {contact} reported {primary} as down at {short(moment)}.")
    return DONE


@reported.command("list", short_help="List the reports of downtime.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
def list_(primary: str | None, as_json: bool) -> int:
    """List the reports of downtime in the order in which they were written down.

    \b
    Examples:
      fallback-mx sla reported list
    """
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.schema import MIGRATIONS

    with opened(MIGRATIONS) as (store, _):
        found = book_of(store).reports(primary).result()
    if as_json:
        for entry in found:
            print_json(data(entry))
        return DONE
    if not found:
        say("Nobody has reported downtime.")
        return DONE
    rows = (
        (
            entry.id,
            entry.report.primary,
            short(entry.report.interval.start),
            short(entry.report.interval.end),
            entry.report.contact,
            short(entry.report.at),
            entry.author,
        )
        for entry in found
    )
    print_table(COLUMNS, rows, fixed=("ID", "FROM", "TO", "ARRIVED"))
    return DONE
