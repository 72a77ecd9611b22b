"""`fallback-mx invoice`: the bill of a month, from users, prices and what was credited."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fallback_mx.cli.exits import DONE, USAGE, complain
from fallback_mx.cli.options import config_option, json_option, load_config
from fallback_mx.cli.printing import called, on_terminal, print_table, say

if TYPE_CHECKING:
    from fallback_mx.billing.bill import Fees, Granted
    from fallback_mx.billing.records import Records
    from fallback_mx.billing.tariff import Tariff
    from fallback_mx.billing.telling import Invoice
    from fallback_mx.config import Config

FORMATS = ("table", "html", "pdf", "csv", "json")
_EARLIER = re.compile(r"(\d{4}-\d{2})=(.+)")


@click.command(short_help="Make the bill of a month.")
@config_option
@json_option
@click.option("--month", metavar="YYYY-MM", help="The month that is billed; otherwise the one before this.")
@click.option(
    "--data", "file", type=click.File("rb"), required=True, help="Users, as CSV or TOML; - for standard input."
)
@click.option("--customer", metavar="NAME", help="Whose bill it is: a [[customer]] of the configuration.")
@click.option("--storage-gb", metavar="GB", help="What all users store together; otherwise as the file says.")
@click.option("--credit-percent", metavar="PERCENT", help="Credit for this month, per cent of its fees.")
@click.option("--credit-of", "primary", metavar="PRIMARY", help="Credit as the month of this primary was settled.")
@click.option(
    *("--earlier-credit", "earlier"),
    metavar="YYYY-MM=PERCENT",
    help="Credit of the month before, not on a bill so far.",
)
@click.option("--format", "form", type=click.Choice(FORMATS), help="How it is printed; a table where nothing is said.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.")
def invoice(
    month: str | None,
    file: IO[bytes],
    customer: str | None,
    storage_gb: str | None,
    credit_percent: str | None,
    primary: str | None,
    earlier: str | None,
    form: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Make the bill of a month: users, discount, storage, credit, tax.

    Users are charged at the highest number that existed at any one time in the month, inactive ones too; aliases,
    domains and lists are not. Prices are in the configuration ([invoice], [[product]]) or in a TOML file. The credit is
    of the month's fees without taxes. docs/invoice.md has the forms of the files and how each rule is read. html is a
    page that prints on A4; pdf is that page, and wants the extra: pip install 'fallback-mx[pdf]'.

    \b
    Examples:
      fallback-mx invoice --month 2026-10 --data users.csv
      fallback-mx invoice --data example.toml --customer Example --credit-of main --format html --output bill.html
      fallback-mx invoice --month 2026-10 --data users.csv --credit-percent 5 --earlier-credit 2026-09=20 --json
    """
    from fallback_mx.billing.records import RecordsError

    chosen = "json" if as_json else form or "table"
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json goes with no other --format than json, not with {form}.")
    if credit_percent is not None and primary is not None:
        raise click.UsageError("--credit-percent and --credit-of do not go together.")
    if chosen == "pdf" and output is None and on_terminal():
        raise click.UsageError("A terminal shows no PDF. Write it to a file: --output bill.pdf.")
    settings = load_config()
    name = _month(month, settings.invoice.time_zone)
    try:
        records, tariff = _records(file, settings)
        billed = _fees(records, tariff, name, _number(storage_gb, "--storage-gb"))
        made = _made(records, tariff, settings, customer, name, billed, credit_percent, primary, earlier)
    except RecordsError as error:
        for problem in error.problems:
            complain(f"{called(file)}: {problem}")
        return USAGE
    _write(made, chosen, output)
    return DONE


def _month(text: str | None, zone: str) -> str:
    from fallback_mx.cli.times import read_month

    now = datetime.now(UTC).astimezone(ZoneInfo(zone))
    if text is None:
        return f"{now.year - (now.month == 1)}-{(now.month - 2) % 12 + 1:02}"
    name = read_month(text, now)
    if name >= f"{now:%Y-%m}":
        raise click.UsageError(f"--month {text} is not over. A month is billed at the start of the next one.")
    return name


def _number(text: str | None, option: str, most: int | None = None) -> Decimal | None:
    from fallback_mx.billing.records import number

    if text is None:
        return None
    try:
        found = number(text, option)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if most is not None and found > most:
        raise click.UsageError(f"{option} {text} is more than {most}.")
    return found


def _records(file: IO[bytes], settings: Config) -> tuple[Records, Tariff]:
    """The file, and the prices: its own, otherwise those of the configuration. Raises RecordsError."""
    from fallback_mx.billing.records import MAX_OCTETS, RecordsError, read
    from fallback_mx.billing.tariff import Product, Storage, Tariff

    terms = settings.invoice
    zone = ZoneInfo(terms.time_zone)
    products = tuple(Product(one.name, one.price) for one in settings.products)
    only = products[0].name if len(products) == 1 else None
    octets = file.read(MAX_OCTETS + 1)
    found = read(octets, zone, only, is_toml=Path(called(file)).suffix.lower() == ".toml" or _looks_like_toml(octets))
    products = found.products or products
    known = [product.name for product in products]
    if not known:
        raise RecordsError(
            ["there are no prices: write [[product]] with name and price into the configuration or the file"]
        )
    named = [*(user.product for user in found.users), *(change.product for change in found.changes)]
    if unknown := [each for each in dict.fromkeys(named) if each not in known]:
        raise RecordsError(f"{each!r} has no price; there are {', '.join(known)}" for each in unknown)
    if len(known) != len(set(known)) or (terms.storage_of and terms.storage_of not in known):
        raise RecordsError([f"the products {', '.join(known)} are not those of [invoice] storage_of, each once"])
    tariff = Tariff(
        products,
        currency=terms.currency,
        both_discount_percent=terms.both_discount_percent,
        storage=Storage(terms.storage),
        storage_of=terms.storage_of or "",
        included_gb_per_user=terms.included_gb_per_user,
        price_per_gb=terms.price_per_gb,
        due_days=terms.due_days,
        tax_percent=terms.tax_percent,
        zone=zone,
    )
    return found, tariff


def _looks_like_toml(octets: bytes) -> bool:
    """From standard input there is no name that says so: a line of CSV does not begin with a bracket."""
    return any(line.startswith(b"[") for line in octets[:4096].splitlines())


def _fees(records: Records, tariff: Tariff, month: str, storage_gb: Decimal | None) -> Fees:
    from fallback_mx.billing.bill import fees
    from fallback_mx.billing.charged import numbers, storage

    return fees(tariff, numbers(records, tariff, month), storage(records, tariff, month, storage_gb))


def _made(
    records: Records,
    tariff: Tariff,
    settings: Config,
    customer: str | None,
    month: str,
    billed: Fees,
    credit_percent: str | None,
    primary: str | None,
    earlier: str | None,
) -> Invoice:
    from fallback_mx.billing.bill import Granted, bill
    from fallback_mx.billing.charged import period_of
    from fallback_mx.billing.telling import Invoice

    granted: list[Granted] = []
    if (percent := _number(credit_percent, "--credit-percent", 100)) is not None:
        granted.append(Granted(month, percent, billed.total))
    if primary is not None:
        from fallback_mx.cli.invoice_credit import credited

        percent, source = credited(primary, month)
        granted.append(Granted(month, percent, billed.total, source))
    if earlier is not None:
        granted.append(_earlier(records, tariff, earlier))
    account = _account(records, settings, customer)
    try:
        made = bill(tariff, month, billed, granted)
    except ValueError as error:
        raise click.UsageError(f"{str(error).capitalize()}.") from None
    return Invoice(made, tariff, period_of(month, tariff.zone), account)


def _earlier(records: Records, tariff: Tariff, text: str) -> Granted:
    from fallback_mx.billing.bill import Granted
    from fallback_mx.cli.times import read_month

    found = _EARLIER.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--earlier-credit {text} is not a month and a percentage. Write it as 2026-09=5.")
    name = read_month(found[1], datetime.now(UTC))
    percent = _number(found[2], "--earlier-credit", 100)
    assert percent is not None
    return Granted(name, percent, _fees(records, tariff, name, None).total)


def _account(records: Records, settings: Config, customer: str | None) -> dict[str, str]:
    """What the file says of the account, before it what the configuration does."""
    if customer is None:
        return dict(records.account)
    known = {one.name: one for one in settings.customers}
    if customer not in known:
        there = f"there are {', '.join(known)}" if known else "there are no [[customer]] tables"
        raise click.UsageError(f"No customer is called {customer}; {there}.")
    told = {"name": customer} | ({"account": account} if (account := known[customer].account) else {})
    return told | dict(records.account)


def _write(made: Invoice, form: str, output: Path | None) -> None:
    from fallback_mx.billing.telling import COLUMNS, notes, rows

    if form == "table" and output is None:
        say(f"Bill for {made.bill.month}, made on {made.bill.made_on}, due on {made.bill.due_on}:")
        print_table(COLUMNS, rows(made), right=COLUMNS[1:])
        for note in notes(made):
            say(note)
        return
    rendered = _rendered(made, form)
    if output is None:
        click.echo(rendered, nl=False)
    else:
        output.write_bytes(rendered)
        say(f"{output} is written.")


def _rendered(made: Invoice, form: str) -> bytes:
    import json

    from fallback_mx.billing.telling import COLUMNS, as_csv, data, rows

    if form in ("html", "pdf"):
        from fallback_mx.billing.page import html
        from fallback_mx.paper import pdf

        page = html(made)
        return pdf(page) if form == "pdf" else page.encode()
    if form == "csv":
        return as_csv(made).encode()
    if form == "json":
        return (json.dumps(data(made)) + "\n").encode()
    return "".join("\t".join(row) + "\n" for row in (COLUMNS, *rows(made))).encode()
