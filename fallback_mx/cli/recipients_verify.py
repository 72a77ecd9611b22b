"""`fallback-mx recipients verify`: asks the primary now, and shows what each source says and what it comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.cli.unknown import did_you_mean
from fallback_mx.spoken import duration
from fallback_mx.visible import visible

if TYPE_CHECKING:
    from fallback_mx.config import Config, Primary
    from fallback_mx.recipients.addresses import Address
    from fallback_mx.recipients.book import Book
    from fallback_mx.rules.recipients import Facts, Known
    from fallback_mx.smtp.callahead import Answers

COLUMNS = ("SOURCE", "VERDICT", "SINCE", "DETAIL")


@dataclass(frozen=True, slots=True)
class Verified:
    """One address: what was said when the primary was asked (None: not asked), the facts, and what they come to."""

    address: Address
    primary: Primary
    asked: Answers | None
    facts: Facts
    known: Known

    @property
    def answer(self) -> str | None:
        """What the recipient is told in an outage, None where it is taken."""
        from fallback_mx.rules.recipients import NOT_NOW, UnknownRecipients, answer, is_unsure
        from fallback_mx.service.lists import has_list

        unknown = UnknownRecipients(self.primary.unknown_recipients)
        if is_unsure(self.known, unknown, has_list=has_list(self.primary)):
            return str(NOT_NOW)
        refusal = answer(self.known.verdict, unknown)
        return None if refusal is None else str(refusal)


def register(group: click.Group) -> None:
    group.add_command(verify)


def the_primary(settings: Config, name: str | None) -> Primary:
    """The primary of this name, or the only one. Raises click.UsageError."""
    names = ", ".join(one.name for one in settings.primaries)
    found = [one for one in settings.primaries if name in (None, one.name)]
    if not found:
        perhaps = did_you_mean(str(name), [one.name for one in settings.primaries])
        raise click.UsageError(f"No primary is called {name}; there are {names}.{' ' + perhaps if perhaps else ''}")
    if len(found) > 1:
        raise click.UsageError(f"Say which primary with --primary; there are {names}.")
    return found[0]


def read_address(text: str) -> Address:
    """An address as it was typed. Raises click.UsageError."""
    from fallback_mx.recipients.addresses import NoAddress, parse

    try:
        return parse(text)
    except NoAddress as reason:
        raise click.UsageError(f"{visible(text)[:80]} is not an address: {reason}.") from None


@click.command(short_help="Ask the primary about recipients now.")
@config_option
@json_option
@click.option("--no-ask", is_flag=True, help="Show what is known, and leave the primary alone.")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
def verify(addresses: tuple[str, ...], no_ask: bool, as_json: bool) -> int:
    """Ask the primary about recipients now.

    What each source says of them is shown with what it comes to. What the primary says is kept. A made-up address
    is asked about first: a domain that takes it takes every address. The exit code is 5 where the primary gave no
    verdict, 3 where an address is in no configured domain.

    \b
    Examples:
      fallback-mx recipients verify bob@example.org
      fallback-mx recipients verify --no-ask bob@example.org alice@example.org
      fallback-mx recipients verify bob@example.org --json | jq -r .verdict
    """
    from fallback_mx.recipients.schema import MIGRATIONS

    wanted = [read_address(text) for text in addresses]
    with opened(MIGRATIONS) as (store, settings):
        from fallback_mx.recipients.book import Book

        stale_after = {one.name: one.recipients_stale_after for one in settings.primaries}
        book = Book(store.writer.submit, store.read, stale_after=stale_after)
        found = asyncio.run(_verify(wanted, settings, book, asks=not no_ask))
    for one in found:
        print_json(_json(one)) if as_json else _show(one)
    known = {one.address for one in found}
    for address in wanted:
        if address not in known:
            complain(f"{address.domain} is a domain of no primary")
    if not found:
        return NOTHING_MATCHED
    is_whole = len(known) == len(set(wanted))
    is_answered = all(one.asked is None or one.asked.verdict.value != "unknown" for one in found)
    return DONE if is_whole and is_answered else PARTLY_DONE


async def _verify(wanted: Sequence[Address], settings: Config, book: Book, *, asks: bool) -> list[Verified]:
    from fallback_mx.service.knowledge import call_ahead

    found = []
    for primary in settings.primaries:
        mine = [address for address in dict.fromkeys(wanted) if address.domain in primary.domains]
        if not mine:
            continue
        asking = call_ahead(primary, settings.server) if asks else None
        try:
            for address in mine:
                found.append(await _one(address, primary, book, asking))
        finally:
            if asking is not None:
                await asking.close()
    return found


async def _one(address: Address, primary: Primary, book: Book, asking: Any) -> Verified:
    from fallback_mx.rules.recipients import Source, Verdict

    asked = None
    if asking is not None:
        asked = await asking.ask(address.local, address.domain)
        book.learn_domain(primary.name, address.domain, asked.domain_verdict)
        if asked.verdict is not Verdict.CATCH_ALL:
            book.learn(primary.name, address, asked.verdict, Source.CALL_AHEAD)
        await asyncio.wrap_future(book.write())
    facts = await asyncio.wrap_future(book.facts(primary.name, address))
    known = await asyncio.wrap_future(book.lookup(primary.name, address))
    return Verified(address, primary, asked, facts, known)


def _sources(one: Verified) -> list[dict[str, Any]]:
    """What each source that has something to say says."""
    found = []
    if one.facts.listing is not None:
        listing = one.facts.listing
        fresh = datetime.now(UTC) - listing.confirmed_at < listing.stale_after
        detail = "" if fresh else "stale"
        found.append(_source("list", listing.verdict.value, listing.confirmed_at, detail))
    found += [_source(each.source.value, each.verdict.value, each.learned_at, "") for each in one.facts.lessons]
    found += [
        _source(each.source.value, each.verdict.value, each.learned_at, f"made-up addresses in {one.address.domain}")
        for each in one.facts.domain_lessons
    ]
    return found


def _source(source: str, verdict: str, since: datetime, detail: str) -> dict[str, Any]:
    return {"source": source, "verdict": verdict, "since": since, "detail": detail}


def _json(one: Verified) -> dict[str, Any]:
    known = one.known
    return {
        "address": str(one.address),
        "primary": one.primary.name,
        "verdict": known.verdict.value,
        "source": known.source.value if known.source is not None else None,
        "age_seconds": known.age.total_seconds() if known.age is not None else None,
        "answer_in_an_outage": one.answer,
        "asked": None if one.asked is None else {"verdict": one.asked.verdict.value, "detail": one.asked.detail},
        "sources": _sources(one),
    }


def _show(one: Verified) -> None:
    known = one.known
    origin = f" ({known.source.value})" if known.source is not None else ""
    age = f", {duration(known.age)} old" if known.age is not None else ""
    say(f"{one.address} at {one.primary.name}: {known.verdict.value}{origin}{age}.")
    say(f"In an outage it is {'taken' if one.answer is None else f'answered {one.answer}'}.")
    rows: list[tuple[str, str, str, str]] = []
    if one.asked is not None:
        rows.append(("asked now", one.asked.verdict.value, "", one.asked.detail))
    rows += [(each["source"], each["verdict"], short(each["since"]), each["detail"]) for each in _sources(one)]
    if rows:
        print_table(COLUMNS, rows, fixed=("SINCE",))
    click.echo()
