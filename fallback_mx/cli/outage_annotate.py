"""`fallback-mx outage annotate|annotations`: an operator's word on a time, which may take it out of the agreement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import click

from fallback_mx.cli.contracts import book_of, the_primary
from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, complain
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.cli.times import read_interval

CATEGORIES = (
    "beyond_control",
    "dns",
    "client_access",
    "false_alarm",
    "customer_acts",
    "mail_delivery",
    "dns_propagation",
    "internet_elsewhere",
    "client_hardware",
)
COLUMNS = ("ID", "PRIMARY", "FROM", "TO", "CATEGORY", "STATE", "BY", "AT", "REASON")


@click.command(short_help="Say why a time does not count.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", help="Whose time it is.")
@click.option("--from", "start", metavar="TIME", help="Its start, such as 2026-11-05T20:30:00Z.")
@click.option("--to", "end", metavar="TIME", help="Its end.")
@click.option("--category", type=click.Choice(CATEGORIES), help="Which words of the agreement it falls under.")
@click.option("--withdraw", metavar="ID", help="Take an annotation back; it stays on record.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; printed in reports, with your name.")
def annotate(
    primary: str | None,
    start: str | None,
    end: str | None,
    category: str | None,
    withdraw: str | None,
    reason: str,
    as_json: bool,
) -> int:
    """Say why a time does not count, under one of the categories that the agreement lists.

    Nothing on record is changed: the outage stays as it was, and so does an annotation that is withdrawn.

    \b
    Examples:
      fallback-mx outage annotate --primary main --from 2026-11-05T10:00Z --to 2026-11-05T11:30Z \\
          --category false_alarm --reason "the switch in front of this machine was restarted"
      fallback-mx outage annotate --withdraw 01K… --reason "it was ours after all"
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty. Whoever reads the report wants to know why.")
    if withdraw is not None:
        if any(value is not None for value in (primary, start, end, category)):
            raise click.UsageError("--withdraw goes with --reason alone.")
        return _withdraw(withdraw, reason, as_json)
    if primary is None or start is None or end is None or category is None:
        raise click.UsageError("Say whose time it is and why: --primary, --from, --to and --category.")
    return _annotate(primary, start, end, category, reason, as_json)


def _annotate(primary: str, start: str, end: str, category: str, reason: str, as_json: bool) -> int:
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.schema import MIGRATIONS
    from fallback_mx.sla.exclusions import Annotation, Category
    from mxqueue.ids import Ids
    from mxqueue.model import utc_now

    interval = read_interval(start, end)
    with opened(MIGRATIONS) as (store, settings):
        the_primary(settings, primary)
        made = Annotation(Ids(utc_now).new(), primary, interval, Category(category), reason, actor(), utc_now())
        book_of(store).annotate(made).result()
    if as_json:
        print_json(data(made))
    else:
        say(f"{made.id}: {short(interval.start)} to {short(interval.end)} is {made.category.words}.")
    return DONE


def _withdraw(annotation_id: str, reason: str, as_json: bool) -> int:
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.schema import MIGRATIONS
    from mxqueue.ids import Ids
    from mxqueue.model import utc_now

    with opened(MIGRATIONS) as (store, _):
        book = book_of(store)
        found = {one.id: one for one in book.annotations().result()}
        meant = found.get(annotation_id)
        if meant is None or meant.withdraws is not None:
            complain(f"there is no annotation {annotation_id}. See: fallback-mx outage annotations")
            return NOTHING_MATCHED
        if any(one.withdraws == annotation_id for one in found.values()):
            complain(f"{annotation_id} is withdrawn already")
            return FAILED
        made = replace(
            meant, id=Ids(utc_now).new(), reason=reason, author=actor(), at=utc_now(), withdraws=annotation_id
        )
        book.annotate(made).result()
    if as_json:
        print_json(data(made))
    else:
        say(f"{annotation_id} is withdrawn. It stays on record.")
    return DONE


@click.command("annotations", short_help="List annotations, withdrawn ones too.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
def list_(primary: str | None, as_json: bool) -> int:
    """List annotations in the order in which they were made, withdrawn ones and withdrawals too.

    \b
    Examples:
      fallback-mx outage annotations
      fallback-mx outage annotations --primary main --json
    """
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.schema import MIGRATIONS

    with opened(MIGRATIONS) as (store, _):
        found = book_of(store).annotations(primary).result()
    withdrawn = {one.withdraws for one in found}
    if as_json:
        for one in found:
            print_json(data(one) | {"withdrawn": one.id in withdrawn})
        return DONE
    if not found:
        say(f"No annotation, as of {short(datetime.now(UTC))}.")
        return DONE
    rows = (
        (
            one.id,
            one.primary,
            short(one.interval.start),
            short(one.interval.end),
            one.category.value,
            f"withdraws {one.withdraws}" if one.withdraws else "withdrawn" if one.id in withdrawn else "stands",
            one.author,
            short(one.at),
            one.reason,
        )
        for one in found
    )
    print_table(COLUMNS, rows, fixed=("ID", "FROM", "TO"))
    return DONE
