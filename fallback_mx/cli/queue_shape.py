"""`fallback-mx queue shape`: which domains the mail that waits is for, and how old it is (Postfix's qshape)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.completing import primary_names
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, print_table, say
from fallback_mx.cli.unknown import no_message_matches
from fallback_mx.durations import parse_duration
from fallback_mx.spoken import counted

if TYPE_CHECKING:
    from mxqueue.shape import Cut, Shape

MOST_CLASSES = 20
LARGEST = 50
LONGEST_FIRST = timedelta(days=1)


@click.command(short_help="Count what waits by domain and age.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", shell_complete=primary_names, help="Mail for this primary alone.")
@click.option("--state", type=click.Choice(["pending", "held"]), help="In this state alone.")
@click.option("--senders", is_flag=True, help="Count messages by their sender's domain instead.")
@click.option("--first", metavar="AGE", default="5m", show_default=True, help="Where the first class of age ends.")
@click.option(
    "--classes",
    type=click.IntRange(1, MOST_CLASSES),
    default=9,
    show_default=True,
    help="How many classes, each twice as long as the one before; one more has what is older.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=LARGEST,
    show_default=True,
    help="The largest domains; the others are summed up. 0 for all.",
)
def shape(
    primary: str | None, state: str | None, senders: bool, first: str, classes: int, limit: int, as_json: bool
) -> int:
    """Count the recipients that wait by domain and by age, the largest domains first: Postfix's qshape.

    The columns are minutes since arrival, each class twice as long as the one before: "5" is what came in the last
    five minutes, "10" what is five to ten minutes old, the last one what is older than all. Much on the left is new
    mail; much on the right is mail that does not go away. `<>` is the null reverse-path.

    \b
    Examples:
      fallback-mx queue shape
      fallback-mx queue shape --senders --state held
      fallback-mx queue shape --first 1h --classes 8 --json
    """
    from mxqueue.model import LIVE_STATES, RecipientState
    from mxqueue.shape import Cut

    cut = Cut(
        route=primary,
        states=LIVE_STATES if state is None else frozenset({RecipientState(state)}),
        senders=senders,
        first=_first(first),
        classes=classes,
        largest=limit or None,
    )
    with opened() as (store, settings):
        found = store.shape(cut).result()
    if not found.rows:
        if primary is None and state is None:
            if not as_json:
                say("The queue is empty.")
            return DONE
        complain(no_message_matches(settings, primary))
        return NOTHING_MATCHED
    _print_json(found, cut) if as_json else _print(found, cut)
    return DONE


def _first(text: str) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError:
        raise click.UsageError(f"--first {text} is not a duration. Write one such as 5m or 1h.") from None
    if not timedelta(seconds=1) <= length <= LONGEST_FIRST:
        raise click.UsageError(f"--first {text} is not between a second and a day.")
    return length


def _print(found: Shape, cut: Cut) -> None:
    headings = [f"{end / timedelta(minutes=1):g}" for end in found.ends]
    columns = ("DOMAIN", "TOTAL", *headings, f"{headings[-1]}+")
    rows = [("TOTAL", sum(found.total), *found.total)]
    rows += [(_name(row.domain, cut), row.total, *row.counts) for row in found.rows]
    if found.others:
        rest = f"({counted(found.others, 'other')})"
        rows.append((rest, sum(found.others_counts), *found.others_counts))
    print_table(columns, rows, right=columns[1:])


def _name(domain: str, cut: Cut) -> str:
    return domain or ("<>" if cut.senders else "(no domain)")


def _print_json(found: Shape, cut: Cut) -> None:
    for row in found.rows:
        print_json(_json(row.domain, 1, row.counts, found, cut))
    if found.others:
        print_json(_json(None, found.others, found.others_counts, found, cut))


def _json(domain: str | None, domains: int, counts: tuple[int, ...], found: Shape, cut: Cut) -> dict[str, object]:
    """A line for a domain; the last line, whose domain is None, is for all those beyond the limit."""
    ends = [end.total_seconds() for end in found.ends]
    return {
        "domain": domain,
        "domains": domains,
        "of": "messages by sender" if cut.senders else "recipients",
        "total": sum(counts),
        "ages": [
            {"younger_than_seconds": end, "count": count} for end, count in zip([*ends, None], counts, strict=True)
        ],
    }
