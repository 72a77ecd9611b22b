"""`fallback-mx queue log`: what became of a message, or of all the mail of one recipient, told from the ledger.

The ledger outlives the mail: what was delivered, given up or removed is in it for `ledger_retention`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.filters import read_ago, read_id
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import on_terminal, print_json, say, short
from fallback_mx.spoken import duration

if TYPE_CHECKING:
    from mxqueue import LedgerRow, Message, Queue

TERMINAL_LIMIT = 50
PAGE = 100


@dataclass(frozen=True, slots=True)
class Story:
    """What the ledger has of one message, and the message while it is still there."""

    id: str
    rows: Sequence[LedgerRow]
    message: Message | None


@click.command(short_help="Tell what became of a message, or of somebody's mail.")
@config_option
@json_option
@click.option("--recipient", metavar="ADDRESS", help="All mail for this recipient.")
@click.option("--newer", metavar="AGE", help="Mail that arrived within it, such as 2d: much quicker.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"At most so many messages, 0 for all; on a terminal {TERMINAL_LIMIT}.",
)
@click.argument("queue_id", metavar="[ID]", required=False)
def log(queue_id: str | None, recipient: str | None, newer: str | None, limit: int | None, as_json: bool) -> int:
    """Tell what became of a message, or of all the mail of a recipient, from acceptance to its end.

    It is read from the ledger, which keeps what happened for `ledger_retention`, whatever has become of the mail:
    delivered, with what the primary said, given up, or removed, by whom and why. With --recipient the oldest mail comes
    first; with --json there is a line for each thing that happened.

    \b
    Examples:
      fallback-mx queue log 01K4QZ6YB3T9V5XW2N8M7RCD1E
      fallback-mx queue log --recipient bob@example.org --newer 2d
      fallback-mx queue log --recipient bob@example.org --json | jq 'select(.event == "delivered")'
    """
    if (queue_id is None) == (recipient is None):
        raise click.UsageError("Say which message, or whose mail with --recipient; not both.")
    if queue_id is not None and (newer is not None or limit is not None):
        raise click.UsageError("--newer and --limit go with --recipient.")
    since = read_ago("--newer", newer, datetime.now(UTC))
    if limit is None and on_terminal() and not as_json:
        limit = TERMINAL_LIMIT
    wanted = read_id(queue_id) if queue_id is not None else None
    with opened() as (store, settings):
        found = _of_message(store, wanted) if wanted is not None else _of_recipient(store, str(recipient), since)
        first = next(found, None)
        if first is None:
            kept = duration(settings.storage.ledger_retention)
            complain(f"the ledger has nothing of {wanted or f'mail for {recipient}'}; it goes back {kept}")
            return NOTHING_MATCHED
        for number, story in enumerate(islice(chain([first], found), limit or None)):
            _print_json(story) if as_json else _print(story, is_first=number == 0)
        if limit and next(found, None) is not None:
            complain(f"{limit} messages told, there are more: --newer 2d for the latest, --limit 0 for all")
    return DONE


def _of_message(store: Queue, queue_id: str) -> Iterator[Story]:
    if rows := store.past(queue_id).result():
        yield from _stories(store, rows)


def _of_recipient(store: Queue, recipient: str, since: datetime | None) -> Iterator[Story]:
    after: str | None = None
    while rows := store.past_of(recipient, since, PAGE, after).result():
        yield from _stories(store, rows)
        after = rows[-1].message_id


def _stories(store: Queue, rows: Sequence[LedgerRow]) -> Iterator[Story]:
    from mxqueue import Filter, RecipientState

    told = {queue_id: list(of_one) for queue_id, of_one in groupby(rows, key=lambda row: row.message_id)}
    wanted = Filter(ids=tuple(told), states=frozenset(RecipientState))
    there = {message.id: message for message in store.list(wanted).result()}
    for queue_id, of_one in told.items():
        yield Story(queue_id, of_one, there.get(queue_id))


def _print(story: Story, *, is_first: bool) -> None:
    from fallback_mx.cli.queue_story import header, told

    if not is_first:
        click.echo()
    if story.message is None:
        say(f"{story.id}  the ledger alone knows of it")
    else:
        for line in header(story.message):
            say(line)
    for row in story.rows:
        say(f"{short(row.at)}  {row.forward_path}  {told(row)}")


def _print_json(story: Story) -> None:
    from fallback_mx.cli.queue_story import row_json

    for row in story.rows:
        print_json({"id": row.message_id} | row_json(row))
