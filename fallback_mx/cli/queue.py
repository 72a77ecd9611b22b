"""`fallback-mx queue list|show|cat|count`: looking at what waits. What changes it is in queue_edit."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from fallback_mx.cli import queue_bounce, queue_edit, queue_export, queue_import, queue_log, queue_shape
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.filters import Selection, filter_options, read_id
from fallback_mx.cli.opening import opened, walk
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import on_terminal, print_json, print_table, say, short
from fallback_mx.cli.status import read
from fallback_mx.cli.unknown import no_message_matches
from fallback_mx.rules.bouncing import REPORTS
from fallback_mx.rules.health import State
from fallback_mx.spoken import octets

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from mxqueue import Message, Recipient

TERMINAL_LIMIT = 200
LIST_COLUMNS = ("ID", "ARRIVED", "SIZE", "PRIMARY", "FROM", "TO", "STATE", "LAST REPLY")
COUNT_COLUMNS = ("PRIMARY", "STATE", "MESSAGES", "RECIPIENTS", "OLDEST")


@click.group()
@config_option
@json_option_of_group
def queue() -> None:
    """Look at the mail that waits, and change what becomes of it.

    \b
    Examples:
      fallback-mx queue list --primary main --older 2h
      fallback-mx queue show 01K4QZ6YB3T9V5XW2N8M7RCD1E
      fallback-mx queue log --recipient bob@example.org
      fallback-mx queue shape
      fallback-mx queue hold --sender spammer@example.net
    """


queue_edit.register(queue)
queue.add_command(queue_bounce.bounce)
queue.add_command(queue_export.export)
queue.add_command(queue_import.import_)
queue.add_command(queue_log.log)
queue.add_command(queue_shape.shape)


@queue.command("list")
@config_option
@json_option
@filter_options
@click.option(
    "--limit", type=click.IntRange(min=0), help=f"At most so many, 0 for all; on a terminal {TERMINAL_LIMIT}."
)
def list_(selection: Selection, as_json: bool, limit: int | None) -> int:
    """List messages, oldest first. Without --state those that are pending or held.

    The exit code is 3 when a filter was given and nothing matched it.

    \b
    Examples:
      fallback-mx queue list
      fallback-mx queue list --domain example.org --state held
      fallback-mx queue list --older 1d --json | jq -r .id
    """
    wanted = selection.filter(datetime.now(UTC))
    if limit is None and on_terminal() and not as_json:
        limit = TERMINAL_LIMIT
    with opened() as (store, settings):
        messages = walk(store, wanted)
        first = next(messages, None)
        if first is None:
            return _nothing_listed(selection, settings, as_json)
        shown = islice(chain([first], messages), limit or None)
        if as_json:
            for message in shown:
                print_json(message_json(message))
        else:
            print_table(LIST_COLUMNS, map(_list_row, shown), right=("SIZE",), fixed=("ID", "ARRIVED"))
        if limit and next(messages, None) is not None:
            complain(f"{limit} shown, there are more: --limit 0 shows all")
    return DONE


def _nothing_listed(selection: Selection, settings: Config, as_json: bool) -> int:
    if selection == Selection():
        if not as_json:
            say("The queue is empty.")
        return DONE
    complain(no_message_matches(settings, selection.primary))
    return NOTHING_MATCHED


def message_json(message: Message) -> dict[str, Any]:
    """A message as programs get it; the form of a line of `queue list --json`."""
    return {
        "id": message.id,
        "arrived_at": message.arrived_at,
        "reverse_path": message.reverse_path,
        "size": message.size,
        "route": message.route,
        "client_address": message.client_address,
        "recipients": [
            {
                "forward_path": recipient.forward_path,
                "state": recipient.state.value,
                "attempts": recipient.attempts,
                "not_before": recipient.not_before,
                "last_reply": recipient.last_reply,
            }
            for recipient in message.recipients
        ],
    }


def _list_row(message: Message) -> tuple[str, ...]:
    recipients = message.recipients
    more = f" +{len(recipients) - 1}" if len(recipients) > 1 else ""
    return (
        message.id,
        short(message.arrived_at),
        octets(message.size),
        message.route,
        message.reverse_path or "<>",
        recipients[0].forward_path + more,
        _states(recipients),
        next((recipient.last_reply for recipient in recipients if recipient.last_reply), ""),
    )


def _states(recipients: tuple[Recipient, ...]) -> str:
    """ "pending", or "held 1, pending 2" where they differ."""
    states = [recipient.state.value for recipient in recipients]
    kinds = sorted(set(states))
    return kinds[0] if len(kinds) == 1 else ", ".join(f"{kind} {states.count(kind)}" for kind in kinds)


@queue.command(short_help="Show one message and all that has happened to it.")
@config_option
@json_option
@click.argument("queue_id", metavar="ID")
def show(queue_id: str, as_json: bool) -> int:
    """Show one message: its envelope, its recipients, and all that has happened to it.

    \b
    Examples:
      fallback-mx queue show 01K4QZ6YB3T9V5XW2N8M7RCD1E
      fallback-mx queue show 01K4QZ6YB3T9V5XW2N8M7RCD1E --json | jq .ledger
    """
    from fallback_mx.cli import queue_story
    from fallback_mx.orders.schema import MIGRATIONS
    from fallback_mx.status import Primary

    with opened(MIGRATIONS) as (store, settings):
        message, ledger = store.show(read_id(queue_id)).result()
        if as_json:
            print_json(message_json(message) | queue_story.details_json(message, ledger))
        else:
            known = {one.name: one for one in read(store, settings).primaries if one.is_configured}
            # Reports go to strangers, whom nobody watches.
            known[REPORTS] = Primary(REPORTS, State.UP, None)
            queue_story.tell(message, ledger, known.get(message.route))
    return DONE


@queue.command(short_help="Print a message as it will be sent on.")
@config_option
@json_option
@click.option("--damaged", is_flag=True, help="Print what is stored even where its hash no longer fits.")
@click.argument("queue_id", metavar="ID")
def cat(queue_id: str, damaged: bool, as_json: bool) -> int:
    """Print a message as it will be sent on: our Received line, then the content, octet by octet.

    On a terminal control characters are shown as escapes; in a pipe or a file nothing is changed.

    \b
    Examples:
      fallback-mx queue cat 01K4QZ6YB3T9V5XW2N8M7RCD1E > message.eml
      fallback-mx queue cat 01K4QZ6YB3T9V5XW2N8M7RCD1E | less
    """
    from fallback_mx.cli import queue_story

    with opened() as (store, _):
        message, _ledger = store.show(read_id(queue_id)).result()
        content = store.content(message.id).result()
        octets_of = content.as_stored if damaged else content.chunks
        if as_json:
            print_json(queue_story.content_json(message, b"".join(octets_of())))
        elif on_terminal():
            queue_story.print_on_terminal(chain([message.trace], octets_of()))
        else:
            for piece in chain([message.trace], octets_of()):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    return DONE


@queue.command()
@config_option
@json_option
def count(as_json: bool) -> int:
    """Count what waits, by primary and state.

    \b
    Examples:
      fallback-mx queue count
      fallback-mx queue count --json
    """
    with opened() as (store, _):
        counts = store.count().result()
    if as_json:
        for one in counts:
            print_json(
                {
                    "primary": one.route,
                    "state": one.state.value,
                    "messages": one.messages,
                    "recipients": one.recipients,
                    "oldest_arrived_at": one.oldest_arrived_at,
                }
            )
    elif counts:
        rows = [(one.route, one.state, one.messages, one.recipients, short(one.oldest_arrived_at)) for one in counts]
        print_table(COUNT_COLUMNS, rows, right=("MESSAGES", "RECIPIENTS"), fixed=("OLDEST",))
    else:
        say("The queue is empty.")
    return DONE
