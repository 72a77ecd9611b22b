"""`fallback-mx sla claim add|list|decide`: claims for credit, what speaks against them, and what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.contracts import book_of, months, the_primary
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.cli.times import read_interval, read_moment, read_month

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.settlement.entries import ClaimEntry
    from fallback_mx.settlement.month import Month
    from fallback_mx.sla.claims import Objection
    from mxqueue import Queue

COLUMNS = ("ID", "PRIMARY", "MONTH", "ARRIVED", "ACCOUNT", "CONTACT", "STATE", "AGAINST IT")


@click.group()
@config_option
@json_option_of_group
def claim() -> None:
    """Keep the claims for credit, and decide them.

    \b
    Examples:
      fallback-mx sla claim list --month 2026-10
      fallback-mx sla claim decide 01K… --grant --reason "in time and complete"
    """


@claim.command(short_help="Write down a claim.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", required=True, help="What was down.")
@click.option("--month", metavar="YYYY-MM", help="For which month; otherwise that of --from (UTC).")
@click.option("--from", "start", metavar="TIME", required=True, help="Since when it was down, as the claim says.")
@click.option("--to", "end", metavar="TIME", required=True, help="Until when.")
@click.option("--account", metavar="NUMBER", default="", help="The account that the claim names.")
@click.option("--contact", metavar="TEXT", required=True, help="Who made it.")
@click.option("--at", metavar="TIME", help="When it arrived; otherwise now.")
@click.option("--in-arrears", is_flag=True, help="The account was in arrears then.")
def add(
    primary: str,
    month: str | None,
    start: str,
    end: str,
    account: str,
    contact: str,
    at: str | None,
    in_arrears: bool,
    as_json: bool,
) -> int:
    """Write down a claim, and say what speaks against it. It is kept whatever that is: a person decides.

    A claim reports the downtime that it names, if it arrives in time for that.

    \b
    Examples:
      fallback-mx sla claim add --primary main --from 2026-11-05T10:00Z --to 2026-11-05T12:00Z \\
          --account 4711 --contact carol@example.org
    """
    from fallback_mx.maintenance.schema import MIGRATIONS as MAINTENANCE
    from fallback_mx.settlement.entries import ClaimEntry
    from fallback_mx.settlement.schema import MIGRATIONS
    from fallback_mx.sla.claims import Claim
    from mxqueue.ids import Ids
    from mxqueue.model import utc_now

    interval = read_interval(start, end)
    name = read_month(month, interval.start)
    arrived = utc_now() if at is None else read_moment("--at", at)
    with opened(MIGRATIONS, MAINTENANCE) as (store, settings):
        made = Claim(the_primary(settings, primary), interval, account, contact, arrived, in_arrears)
        entry = ClaimEntry(Ids(utc_now).new(), name, made, actor(), utc_now())
        book_of(store).claim(entry).result()
        against = _objections(store, settings, entry)
    if as_json:
        print_json(_as_json(entry, against))
    else:
        say(f"{entry.id}: a claim of {contact} for {primary} in {name}.")
        for objection in against:
            say(f"Against it: {objection.words}.")
    return DONE


@claim.command("list", short_help="List claims and what speaks against them.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
@click.option("--month", metavar="YYYY-MM", help="For this month alone.")
@click.option("--state", type=click.Choice(("open", "granted", "refused")), help="In this state alone.")
def list_(primary: str | None, month: str | None, state: str | None, as_json: bool) -> int:
    """List claims, and what speaks against each by what is on record now.

    \b
    Examples:
      fallback-mx sla claim list --state open
    """
    from fallback_mx.maintenance.schema import MIGRATIONS as MAINTENANCE
    from fallback_mx.settlement.schema import MIGRATIONS

    wanted_month = None if month is None else read_month(month, datetime.now(UTC))
    with opened(MIGRATIONS, MAINTENANCE) as (store, settings):
        found = [
            entry
            for entry in book_of(store).claims(primary).result()
            if wanted_month in (None, entry.month) and state in (None, entry.state)
        ]
        # Many claims are for the same few months.
        settled = {name: months(store, settings, name, datetime.now(UTC)) for name in {one.month for one in found}}
        against = {entry.id: _against(entry, settled[entry.month]) for entry in found}
    if as_json:
        for entry in found:
            print_json(_as_json(entry, against[entry.id]))
        return DONE
    if not found:
        say("No claim.")
        return DONE
    rows = (
        (
            entry.id,
            entry.claim.primary,
            entry.month,
            short(entry.claim.at),
            entry.claim.account,
            entry.claim.contact,
            entry.state,
            "; ".join(objection.words for objection in against[entry.id]) or "nothing",
        )
        for entry in found
    )
    print_table(COLUMNS, rows, fixed=("ID", "ARRIVED"))
    return DONE


@claim.command(short_help="Grant or refuse a claim.")
@config_option
@json_option
@click.argument("claim_id", metavar="ID")
@click.option("--grant/--refuse", "granted", default=None, help="What is decided.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; printed in reports.")
def decide(claim_id: str, granted: bool | None, reason: str, as_json: bool) -> int:
    """Grant or refuse a claim. What speaks against it now is kept beside the decision; a later one goes before it.

    \b
    Examples:
      fallback-mx sla claim decide 01K… --refuse --reason "arrived on the ninth business day"
    """
    from fallback_mx.maintenance.schema import MIGRATIONS as MAINTENANCE
    from fallback_mx.settlement.data import data
    from fallback_mx.settlement.entries import Decision
    from fallback_mx.settlement.schema import MIGRATIONS
    from mxqueue.ids import Ids
    from mxqueue.model import utc_now

    if granted is None:
        raise click.UsageError("Say what is decided: --grant or --refuse.")
    with opened(MIGRATIONS, MAINTENANCE) as (store, settings):
        book = book_of(store)
        entry = next((one for one in book.claims().result() if one.id == claim_id), None)
        if entry is None:
            complain(f"there is no claim {claim_id}. See: fallback-mx sla claim list")
            return NOTHING_MATCHED
        against = ",".join(_objections(store, settings, entry))
        decision = Decision(Ids(utc_now).new(), claim_id, granted, against, reason, actor(), utc_now())
        book.decide(decision).result()
    if as_json:
        print_json(data(decision))
    else:
        say(f"{claim_id} is {'granted' if granted else 'refused'}.")
    return DONE


def _objections(store: Queue, settings: Config, entry: ClaimEntry) -> tuple[Objection, ...]:
    now = datetime.now(UTC)
    return _against(entry, months(store, settings, entry.month, now, primary=entry.claim.primary))


def _against(entry: ClaimEntry, settled: Sequence[Month]) -> tuple[Objection, ...]:
    from fallback_mx.sla.claims import objections

    month = next((one for one in settled if one.primary == entry.claim.primary), None)
    if month is None:
        # A primary that is no longer configured and was not down since.
        return ()
    contract = month.contract
    outages = month.record.history.outages
    return objections(entry.claim, contract.customer, month.settlement, outages, contract.is_business_day)


def _as_json(entry: ClaimEntry, against: tuple[Objection, ...]) -> dict[str, object]:
    from fallback_mx.settlement.data import claim as claim_json

    return claim_json(entry) | {"objections": [objection.value for objection in against]}
