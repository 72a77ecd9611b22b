"""`fallback-mx sla report|explain`: months settled by their agreements. What is said of outages is in sla_book."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallback_mx.cli import sla_claim, sla_freeze, sla_reported
from fallback_mx.cli.contracts import months
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import on_terminal, print_json, print_table, say
from fallback_mx.cli.times import read_month

if TYPE_CHECKING:
    from fallback_mx.settlement.month import Month

FORMATS = ("table", "html", "pdf", "csv", "json")
COLUMNS = ("PRIMARY", "UPTIME", "SETTLED", "DOWN", "COUNTED", "ALLOWED", "BREACH", "CREDIT", "SURE")


@click.group()
@config_option
@json_option_of_group
def sla() -> None:
    """Settle months by their agreements: uptime, credit, and why.

    \b
    Examples:
      fallback-mx sla report --month 2026-10
      fallback-mx sla explain --month 2026-10 --primary main
      fallback-mx sla claim list --month 2026-10
    """


sla.add_command(sla_claim.claim)
sla.add_command(sla_reported.reported)
sla.add_command(sla_freeze.freeze)
sla.add_command(sla_freeze.frozen)


@sla.command(short_help="Report a month: uptime, allowance, breach, credit.")
@config_option
@json_option
@click.option("--month", metavar="YYYY-MM", help="The calendar month; otherwise the current one so far.")
@click.option("--customer", metavar="NAME", help="Of the primaries of this customer alone.")
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How it is printed; a table where nothing is said.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.")
def report(
    month: str | None, customer: str | None, primary: str | None, form: str | None, output: Path | None, as_json: bool
) -> int:
    """Report a month of each primary, as its agreement settles it.

    The raw figure counts all downtime that is neither maintenance nor excluded; the settled one leaves out what nobody
    reported in time, and decides the credit. With --format json or --json a line for each primary. html is a page that
    prints on A4; pdf is that page, and wants the extra: pip install 'fallback-mx[pdf]'.

    \b
    Examples:
      fallback-mx sla report --month 2026-10
      fallback-mx sla report --month 2026-10 --customer Example --format pdf --output example.pdf
      fallback-mx sla report --month 2026-10 --json | jq 'select(.breach)'
    """
    now = datetime.now(UTC)
    chosen = "json" if as_json else form or "table"
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json goes with no other --format than json, not with {form}.")
    if chosen == "pdf" and output is None and on_terminal():
        raise click.UsageError("A terminal shows no PDF. Write it to a file: --output report.pdf.")
    found = _months(month, customer, primary, now)
    if not found:
        return _none(customer, primary)
    if output is None and chosen == "table":
        _print_table(found)
        return DONE
    rendered = _rendered(found, chosen, now)
    if output is not None:
        output.write_bytes(rendered)
        say(f"{output} is written.")
    else:
        click.echo(rendered, nl=False)
    return DONE


def _months(month: str | None, customer: str | None, primary: str | None, now: datetime) -> list[Month]:
    from fallback_mx.maintenance.schema import MIGRATIONS as MAINTENANCE
    from fallback_mx.settlement.schema import MIGRATIONS

    name = read_month(month, now)
    with opened(MIGRATIONS, MAINTENANCE) as (store, settings):
        return months(store, settings, name, now, primary=primary, customer=customer)


def _none(customer: str | None, primary: str | None) -> int:
    whose = f" of {customer}" if customer is not None else ""
    complain(f"no primary{whose} is called {primary}" if primary is not None else f"no primary is{whose or ' there'}")
    return NOTHING_MATCHED


def _rendered(found: Sequence[Month], form: str, now: datetime) -> bytes:
    if form == "pdf":
        from fallback_mx.settlement.page import pdf

        return pdf(found, now)
    if form == "html":
        from fallback_mx.settlement.page import html

        return html(found, now).encode()
    if form == "csv":
        return _csv(found).encode()
    if form == "json":
        import json

        return "".join(json.dumps(_figures(month)) + "\n" for month in found).encode()
    return _text(found).encode()


def _figures(month: Month) -> dict[str, object]:
    from fallback_mx.settlement.data import figures
    from fallback_mx.settlement.freezing import frozen_data

    return figures(month) | {"frozen": frozen_data(month)}


def _csv(found: Sequence[Month]) -> str:
    """A row for each primary; the seconds of each kind as columns of their own, claims and freezing left out."""
    rows = []
    for month in found:
        row = _figures(month)
        of_kinds = row.pop("seconds")
        assert isinstance(of_kinds, dict)
        del row["claims"], row["frozen"]
        rows.append(row | {f"seconds_{kind}": value for kind, value in of_kinds.items()})
    written = io.StringIO()
    writer = csv.DictWriter(written, rows[0])
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula is kept from being one."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def _print_table(found: Sequence[Month]) -> None:
    say(f"{found[0].name}; settled leaves out what nobody reported in time, where the agreement says so:")
    print_table(COLUMNS, map(_row, found), right=COLUMNS[1:6])
    for line in _notes(found):
        say(line)


def _text(found: Sequence[Month]) -> str:
    return "\n".join("\t".join(map(str, row)) for row in [COLUMNS, *map(_row, found)]) + "\n"


def _row(month: Month) -> tuple[str, ...]:
    from fallback_mx.settlement.explanation import length, minutes, percent
    from fallback_mx.sla.ladder import shown

    settlement = month.settlement
    return (
        month.primary,
        f"{percent(settlement.raw.percent)} %",
        f"{percent(settlement.settled.percent)} %",
        length(settlement.division.parts.down),
        length(settlement.settled.counted),
        f"{minutes(settlement.allowance)} min",
        "yes" if settlement.verdict.breach else "no",
        f"{shown(settlement.verdict.credit)} %",
        "no" if settlement.insufficient_data else "yes",
    )


def _notes(found: Sequence[Month]) -> list[str]:
    from fallback_mx.settlement.explanation import length
    from fallback_mx.settlement.freezing import corrections
    from fallback_mx.sla.ladder import shown

    notes = []
    for month in found:
        settlement = month.settlement
        if settlement.raw_verdict.credit != settlement.verdict.credit:
            unreported = length(settlement.raw.counted - settlement.settled.counted)
            credit = shown(settlement.raw_verdict.credit)
            notes.append(f"{month.primary}: {unreported} that nobody reported in time; with it credit were {credit} %.")
        if settlement.insufficient_data:
            notes.append(f"{month.primary}: too much time is unknown to be sure; see sla explain.")
        if month.frozen and (changed := corrections(month)):
            notes.append(f"{month.primary}: changed since it was closed: {', '.join(changed)}.")
        elif month.frozen:
            notes.append(f"{month.primary}: closed, and nothing has changed since.")
    return notes


@sla.command(short_help="Explain a month line by line.")
@config_option
@json_option
@click.option("--month", metavar="YYYY-MM", help="The calendar month; otherwise the current one so far.")
@click.option("--customer", metavar="NAME", help="Of the primaries of this customer alone.")
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
def explain(month: str | None, customer: str | None, primary: str | None, as_json: bool) -> int:
    """Explain a month line by line: every outage, what was taken out of it and why, and the arithmetic.

    \b
    Examples:
      fallback-mx sla explain --month 2026-10 --primary main
      fallback-mx sla explain --month 2026-10 --json | jq .arithmetic
    """
    found = _months(month, customer, primary, datetime.now(UTC))
    if not found:
        return _none(customer, primary)
    for number, one in enumerate(found):
        if as_json:
            print_json(_explained(one))
        else:
            if number:
                click.echo()
            _print_explained(one)
    return DONE


def _explained(month: Month) -> dict[str, object]:
    from fallback_mx.outages.exchange import outage_line
    from fallback_mx.settlement import explanation
    from fallback_mx.settlement.data import data

    return _figures(month) | {
        "outages": [
            outage_line(one.span) | {"id": one.span.id, "node": one.span.node, "pieces": data(one.pieces)}
            for one in explanation.outages(month)
        ],
        "taken_out": data(explanation.taken_out(month)),
        "arithmetic": dict(explanation.arithmetic(month)),
    }


def _print_explained(month: Month) -> None:
    from fallback_mx.settlement import explanation
    from fallback_mx.settlement.explanation import length, moment

    say(f"{month.primary}, {month.name}, by {month.contract.agreement.title}")
    for one in explanation.outages(month):
        end = "it goes on" if one.span.ended_at is None else moment(one.span.ended_at)
        say(f"  outage {one.span.id}: {moment(one.span.started_at)} to {end}; {length(one.counted)} of it count")
        for piece in one.pieces:
            times = f"{moment(piece.interval.start)} to {moment(piece.interval.end)}"
            say(f"    {piece.kind.value}: {times}, {length(piece.interval.length)}: {piece.why}")
    for piece in explanation.taken_out(month):
        times = f"{moment(piece.interval.start)} to {moment(piece.interval.end)}"
        say(f"  {piece.kind.value}: {times}, {length(piece.interval.length)}: {piece.why}")
    for name, how in explanation.arithmetic(month):
        say(f"  {name}: {how}")
