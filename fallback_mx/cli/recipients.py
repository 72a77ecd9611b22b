"""`fallback-mx recipients list`: what is known of recipients. What changes it, or asks, is in the files beside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from fallback_mx.cli import recipients_edit, recipients_verify
from fallback_mx.cli.completing import primary_names
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.opening import PAGE, opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import on_terminal, print_json, print_table, say, short
from fallback_mx.cli.recipients_edit import SOURCES, which_of
from fallback_mx.cli.unknown import unknown_primary

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.recipients.listed import ListState
    from fallback_mx.recipients.records import Which
    from fallback_mx.recipients.sources import Source
    from mxqueue import Queue

TERMINAL_LIMIT = 200
COLUMNS = ("ADDRESS", "PRIMARY", "VERDICT", "SOURCE", "SINCE")
LIST_COLUMNS = ("PRIMARY", "LIST", "ADDRESSES", "CHANGED", "CONFIRMED", "STATE")


@click.group()
@config_option
def recipients() -> None:
    """Look at what is known of recipients, and change it.

    \b
    Examples:
      fallback-mx recipients list --lists
      fallback-mx recipients import --primary main /etc/fallback-mx/recipients
      fallback-mx recipients verify bob@example.org
    """


recipients_edit.register(recipients)
recipients_verify.register(recipients)


@recipients.command("list", short_help="List what is known of recipients.")
@config_option
@json_option
@click.option("--lists", is_flag=True, help="The lists themselves: where from, how large, how old.")
@click.option("--primary", metavar="NAME", shell_complete=primary_names, help="Of this primary alone.")
@click.option("--domain", metavar="DOMAIN", help="In this domain alone.")
@click.option("--verdict", type=click.Choice(["good", "bad", "catch-all"]), help="With this verdict alone.")
@click.option("--source", multiple=True, type=click.Choice(SOURCES), help="From this source alone; repeatable.")
@click.option(
    "--limit", type=click.IntRange(min=0), help=f"At most so many, 0 for all; on a terminal {TERMINAL_LIMIT}."
)
def list_(
    lists: bool,
    primary: str | None,
    domain: str | None,
    verdict: str | None,
    source: tuple[str, ...],
    limit: int | None,
    as_json: bool,
) -> int:
    """List what each source says of addresses.

    Lists come first, then what the primary said itself. An address may stand there several times; `recipients
    verify` shows what it comes to. `*@example.org` is the whole domain: catch-all, or bad where the primary refuses
    made-up addresses.

    \b
    Examples:
      fallback-mx recipients list --domain example.org --verdict bad
      fallback-mx recipients list --lists
      fallback-mx recipients list --source delivery --json | jq -r .address
    """
    from fallback_mx.recipients.schema import MIGRATIONS

    if lists and (domain or verdict or source or limit is not None):
        raise click.UsageError("--lists goes with --primary alone.")
    with opened(MIGRATIONS) as (store, settings):
        if lists:
            return _list_lists(store, settings, primary, as_json)
        if limit is None and on_terminal() and not as_json:
            limit = TERMINAL_LIMIT
        found = _rows(store, which_of(primary, domain, verdict, source))
        first = next(found, None)
        if first is None:
            if primary or domain or verdict or source:
                reason = unknown_primary(settings, primary)
                complain(f"nothing that is known matches{': ' + reason if reason else ''}")
                return NOTHING_MATCHED
            if not as_json:
                say("Nothing is known of any recipient.")
            return DONE
        shown = islice(chain([first], found), limit or None)
        if as_json:
            for row in shown:
                print_json(dict(zip(("address", "primary", "verdict", "source", "since"), row, strict=True)))
        else:
            print_table(COLUMNS, ((*row[:4], short(row[4])) for row in shown), fixed=("SINCE",))
        if limit and next(found, None) is not None:
            complain(f"{limit} shown, there are more: --limit 0 shows all")
    return DONE


_Row = tuple[str, str, str, str, datetime | None]


def _rows(store: Queue, which: Which) -> Iterator[_Row]:
    """(address, primary, verdict, source, since), a page in memory at a time."""
    if which.has_listed:
        yield from _listed_rows(store, which)
    yield from _lesson_rows(store, which)


def _listed_rows(store: Queue, which: Which) -> Iterator[_Row]:
    from fallback_mx.recipients import listed

    since = {one.primary: one.confirmed_at for one in store.read(listed.list_states).result()}
    after: tuple[str, str, str] | None = None
    while page := store.read(lambda c, after=after: listed.page_of_listed(c, which, after, PAGE)).result():  # type: ignore[misc]
        for primary, domain, local in page:
            verdict = "good" if local else "catch-all"
            yield f"{local or '*'}@{domain}", primary, verdict, "list", since.get(primary)
        after = page[-1]


def _lesson_rows(store: Queue, which: Which) -> Iterator[_Row]:
    from fallback_mx.recipients import records

    after: tuple[str, str, str, str] | None = None
    while page := store.read(lambda c, after=after: records.page_of_lessons(c, which, after, PAGE)).result():  # type: ignore[misc]
        for each in page:
            lesson = each.lesson
            address = f"{each.local or '*'}@{each.domain}"
            yield address, each.primary, lesson.verdict.value, lesson.source.value, lesson.learned_at
        after = (each.primary, each.domain, each.local, each.lesson.source.value)


def _list_lists(store: Queue, settings: Config, primary: str | None, as_json: bool) -> int:
    from fallback_mx.recipients import listed
    from fallback_mx.service.lists import list_source

    there = {one.primary: one for one in store.read(listed.list_states).result()}
    configured = {one.name: one for one in settings.primaries}
    names = [name for name in dict.fromkeys([*configured, *there]) if primary in (None, name)]
    if not names:
        complain(unknown_primary(settings, primary))
        return NOTHING_MATCHED
    rows = []
    for name in names:
        source = list_source(configured[name]) if name in configured else None
        stale_after = configured[name].recipients_stale_after if name in configured else None
        rows.append(_list_row(name, there.get(name), source, stale_after))
    if as_json:
        for row in rows:
            print_json(row)
    else:
        table = [
            (
                row["primary"],
                row["list"] or "",
                row["addresses"],
                short(row["changed_at"]),
                short(row["confirmed_at"]),
                row["state"],
            )
            for row in rows
        ]
        print_table(LIST_COLUMNS, table, right=("ADDRESSES",), fixed=("CHANGED", "CONFIRMED"))
    return DONE


def _list_row(name: str, state: ListState | None, source: Source | None, stale_after: Any) -> dict[str, Any]:
    from fallback_mx.rules.recipients import is_fresh

    if state is None:
        how = "not read yet" if source is not None else "none"
    elif stale_after is not None and is_fresh(state.confirmed_at, stale_after, datetime.now(UTC)):
        how = "fresh"
    else:
        how = "stale"
    return {
        "primary": name,
        "list": state.origin if state is not None else source.origin if source is not None else None,
        "addresses": state.addresses if state is not None else 0,
        "changed_at": state.changed_at if state is not None else None,
        "confirmed_at": state.confirmed_at if state is not None else None,
        "state": how,
    }
