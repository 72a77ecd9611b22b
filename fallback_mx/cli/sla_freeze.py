"""`fallback-mx sla freeze|frozen`: closing a month, so that what changes afterwards shows as a correction."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from fallback_mx.cli.contracts import book_of, months
from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, say
from fallback_mx.cli.times import read_month


@click.command(short_help="Close a month: figures, agreement and inputs, with a hash.")
@config_option
@json_option
@click.option("--month", metavar="YYYY-MM", required=True, help="A month that is over.")
@click.option("--customer", metavar="NAME", help="Of the primaries of this customer alone.")
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
@click.option("--correct", is_flag=True, help="Close it anew where its figures have changed since.")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept on record.")
def freeze(month: str, customer: str | None, primary: str | None, correct: bool, reason: str, as_json: bool) -> int:
    """Close a month: its figures, the agreement and all inputs are kept with a hash.

    A month that is closed already stays as it was; with --correct it is closed anew where its figures have changed, and
    what it was stays on record.

    \b
    Examples:
      fallback-mx sla freeze --month 2026-10
      fallback-mx sla freeze --month 2026-10 --primary main --correct --reason "a report came by letter"
    """
    from fallback_mx.maintenance.schema import MIGRATIONS as MAINTENANCE
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.freezing import corrections
    from fallback_mx.settlement.freezing import frozen as frozen_month
    from fallback_mx.settlement.schema import MIGRATIONS
    from mxqueue.ids import Ids
    from mxqueue.model import utc_now

    name = read_month(month, datetime.now(UTC))
    if correct and not reason.strip():
        raise click.UsageError("--correct wants a --reason.")
    changed, done = [], 0
    with opened(MIGRATIONS, MAINTENANCE) as (store, settings):
        found = months(store, settings, name, datetime.now(UTC), primary=primary, customer=customer)
        if any(one.settlement.period != one.settlement.month for one in found):
            raise click.UsageError(f"--month {name} is not over.")
        for one in found:
            if one.frozen and not corrections(one):
                say(f"{one.primary}: {name} is closed already, and nothing has changed.") if not as_json else None
                continue
            if one.frozen and not correct:
                changed.append(one)
                continue
            entry = frozen_month(one, Ids(utc_now).new(), reason, actor(), utc_now())
            book_of(store).freeze(entry).result()
            done += 1
            if as_json:
                print_json({key: value for key, value in data(entry).items() if key != "content"})
            else:
                say(f"{one.primary}: {name} is closed. SHA-256 {entry.sha256}")
    for one in changed:
        complain(
            f"{one.primary}: {name} was closed, and has changed since: {', '.join(corrections(one))}."
            " --correct closes it anew"
        )
    if not found:
        complain("no primary matches")
        return NOTHING_MATCHED
    return DONE if not changed else PARTLY_DONE if done else FAILED


@click.command(short_help="Print what a month was closed as.")
@config_option
@json_option
@click.option("--month", metavar="YYYY-MM", required=True, help="The month.")
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
def frozen(month: str, primary: str | None, as_json: bool) -> int:
    """Print what a month was closed as, the first time first: a line of JSON each, whose SHA-256 is the hash on record.

    With --json the line is an object with who closed it, when and why, and the text of it under `content`.

    \b
    Examples:
      fallback-mx sla frozen --month 2026-10 --primary main | tr -d '\\n' | sha256sum
    """
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.freezing import is_whole
    from fallback_mx.settlement.schema import MIGRATIONS

    name = read_month(month, datetime.now(UTC))
    with opened(MIGRATIONS) as (store, _):
        by_primary = book_of(store).frozen(name).result()
    entries = [entry for key, each in by_primary.items() if primary in (None, key) for entry in each]
    for entry in entries:
        if as_json:
            print_json(data(entry) | {"whole": is_whole(entry)})
        else:
            click.echo(entry.content)
        if not is_whole(entry):
            complain(f"{entry.primary}: the text of {name} has been changed since it was closed")
    if not entries:
        complain(f"{name} is not closed")
        return NOTHING_MATCHED
    return DONE if all(map(is_whole, entries)) else FAILED
