"""`fallback-mx recipients import|forget`: changing what is known of recipients."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallback_mx.cli.completing import primary_names
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.filters import read_domain
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, say
from fallback_mx.cli.recipients_verify import read_address, the_primary
from fallback_mx.cli.unknown import unknown_primary
from fallback_mx.spoken import counted

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.recipients.importing import Imported
    from fallback_mx.recipients.records import Which
    from fallback_mx.recipients.sources import Copy, Source
    from mxqueue import Queue

SOURCES = ("list", "delivery", "call-ahead")


def register(group: click.Group) -> None:
    group.add_command(import_)
    group.add_command(forget)


def which_of(primary: str | None, domain: str | None, verdict: str | None, source: tuple[str, ...]) -> Which:
    from fallback_mx.recipients.records import Which
    from fallback_mx.rules.recipients import Source, Verdict

    return Which(
        primary=primary,
        domain=read_domain(domain) if domain is not None else None,
        verdict=Verdict(verdict) if verdict is not None else None,
        sources=frozenset(map(Source, source)),
    )


# Importing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _StandardInput:
    origin: str = "standard input"

    def copy(self, into: Copy) -> None:
        while block := sys.stdin.buffer.read(65536):
            into.write(block)


@click.command("import", short_help="Import a list in place of the one that is there.")
@config_option
@json_option
@click.option(
    "--primary", metavar="NAME", shell_complete=primary_names, help="Whose list it is; needed where there are several."
)
@click.option("--force", is_flag=True, help="Take it although it is empty, full of bad lines, or much shorter.")
@click.argument("file", metavar="[FILE|-]", required=False)
def import_(file: str | None, primary: str | None, force: bool, as_json: bool) -> int:
    """Import a list in place of the one that is there.

    It is a file, `-` for standard input, or without either the configured source. A list that would undo the old
    one is refused without --force. Bad lines are named, and the exit code is then 5; the other addresses are in
    force. A primary with a configured source gets that one's list again at its next reading.

    \b
    Examples:
      fallback-mx recipients import --primary main
      fallback-mx recipients import --primary main /etc/postfix/relay_recipients
      ldapsearch … | fallback-mx recipients import --primary main -
    """
    from fallback_mx.recipients.importing import Importer, Order
    from fallback_mx.recipients.schema import MIGRATIONS

    with opened(MIGRATIONS) as (store, settings):
        whose = the_primary(settings, primary)
        source = _source(file, whose)
        order = Order(whose.name, frozenset(whose.domains), datetime.now(UTC), force)
        imported = Importer(store.writer.submit, store.read).take(source, order)
    return _tell(imported, whose.name, as_json)


def _source(file: str | None, primary: Any) -> Source:
    from fallback_mx.recipients.sources import FileSource
    from fallback_mx.service.lists import list_source

    if file == "-":
        return _StandardInput()
    source = FileSource(Path(file)) if file is not None else list_source(primary)
    if source is None:
        raise click.UsageError(f"{primary.name} has no configured list: name a file, or - for standard input.")
    return source


def _tell(imported: Imported, primary: str, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "primary": primary,
                "addresses": imported.addresses,
                "added": imported.added,
                "removed": imported.removed,
                "unchanged": imported.is_unchanged,
                "passed_over": imported.foreign_count,
                "bad_lines": imported.bad_count,
            }
        )
    else:
        size = counted(imported.addresses, "address", "addresses")
        news = "unchanged" if imported.is_unchanged else f"{imported.added} added, {imported.removed} removed"
        say(f"{size} of {primary}: {news}.")
        if imported.foreign_count:
            say(f"{counted(imported.foreign_count, 'line')} passed over: in domains that are not this primary's.")
    for line in imported.bad:
        complain(str(line))
    if more := imported.bad_count - len(imported.bad):
        complain(f"and {counted(more, 'more bad line')}")
    return PARTLY_DONE if imported.bad_count else DONE


# Forgetting -----------------------------------------------------------------------------------------------------


@click.command(short_help="Forget what was learned, or a whole list.")
@config_option
@json_option
@click.option(
    "--primary", metavar="NAME", shell_complete=primary_names, help="What is known of this primary's recipients."
)
@click.option("--domain", metavar="DOMAIN", help="What is known in this domain.")
@click.option("--verdict", type=click.Choice(["good", "bad", "catch-all"]), help="What has this verdict.")
@click.option("--source", multiple=True, type=click.Choice(SOURCES), help="What this source said; repeatable.")
@click.argument("addresses", metavar="[ADDRESS]...", nargs=-1)
def forget(
    addresses: tuple[str, ...],
    primary: str | None,
    domain: str | None,
    verdict: str | None,
    source: tuple[str, ...],
    as_json: bool,
) -> int:
    """Forget what was learned of recipients, or a list.

    Name what is meant: addresses, exactly as `recipients list` has them, or filters. Lists are not touched unless they
    are named; single addresses of a list are the list's own affair.

    \b
    Examples:
      fallback-mx recipients forget bob@example.org
      fallback-mx recipients forget --primary main --verdict bad
      fallback-mx recipients forget --primary main --source list
    """
    from fallback_mx.recipients.schema import MIGRATIONS

    if not (addresses or primary or domain or verdict or source):
        raise click.UsageError("Say what: addresses, or a filter such as --primary.")
    if addresses and (domain or verdict or source):
        raise click.UsageError("Addresses go with --primary alone.")
    if "list" in source and (primary is None or domain or verdict or len(source) > 1):
        raise click.UsageError("A list is forgotten as a whole: --source list goes with --primary alone.")
    with opened(MIGRATIONS) as (store, settings):
        if "list" in source:
            return _forget_list(store, settings, str(primary), as_json)
        if addresses:
            forgotten = sum(_forget_one(store, settings, address, primary) for address in addresses)
        else:
            forgotten = _forget_which(store, which_of(primary, domain, verdict, source))
    if as_json:
        print_json({"forgotten": forgotten})
    elif forgotten:
        say(f"{counted(forgotten, 'lesson')} forgotten.")
    if not forgotten:
        reason = unknown_primary(settings, primary)
        complain(f"nothing that was learned matches{': ' + reason if reason else ''}")
        return NOTHING_MATCHED
    return DONE


def _forget_list(store: Queue, settings: Config, primary: str, as_json: bool) -> int:
    from fallback_mx.recipients.importing import Importer

    was_there = Importer(store.writer.submit, store.read).drop(primary)
    if as_json:
        print_json({"forgotten": int(was_there)})
    elif was_there:
        say(f"The list of {primary} is forgotten.")
    if not was_there:
        complain(unknown_primary(settings, primary) or f"there is no list of {primary}")
        return NOTHING_MATCHED
    return DONE


def _forget_one(store: Queue, settings: Config, text: str, primary: str | None) -> int:
    from fallback_mx.recipients import records

    local, domain = ("", read_domain(text[2:])) if text.startswith("*@") else _parts(text)
    names = [one.name for one in settings.primaries if primary in (None, one.name)]
    return sum(
        store.writer.submit(lambda c, name=name: records.forget_address(c, name, local, domain)).result()  # type: ignore[misc]
        for name in names
    )


def _parts(text: str) -> tuple[str, str]:
    address = read_address(text)
    return address.local, address.domain


def _forget_which(store: Queue, which: Which) -> int:
    """Piece by piece, so that mail goes in between."""
    from fallback_mx.recipients import records

    total = 0
    while piece := store.writer.submit(lambda connection: records.forget_which(connection, which)).result():
        total += piece
    return total
