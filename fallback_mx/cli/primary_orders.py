"""`fallback-mx primary pause|resume|force`: what an operator orders of a primary.

An order stands in the database with who gave it, why, and until when. A running service obeys it within two seconds;
one that is started later obeys it from its start.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from fallback_mx.cli.completing import primary_names
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, say, short
from fallback_mx.cli.recipients_verify import the_primary
from fallback_mx.durations import parse_duration
from fallback_mx.rules.orders import Order, Standing, What

LONGEST = timedelta(days=365)
USUAL_FORCE = "1h"

reason_option = click.option("--reason", metavar="TEXT", default="", help="Why; kept on record and shown in status.")


def register(group: click.Group) -> None:
    for command in (pause, resume, force):
        group.add_command(command)


@click.command(short_help="Keep its mail here for a while.")
@config_option
@json_option
@click.argument("name", shell_complete=primary_names)
@click.option("--for", "length", metavar="TIME", help="How long, such as 30m, 2h or 1d; otherwise until it is resumed.")
@reason_option
def pause(name: str, length: str | None, reason: str, as_json: bool) -> int:
    """Keep a primary's mail here for a while.

    Nothing is delivered to it; what is on its way at that moment is finished. Mail is still taken, the primary is still
    watched, and an outage is still on record. It ends by itself, or with `primary resume`.

    \b
    Examples:
      fallback-mx primary pause main --for 2h --reason "disks are being replaced"
      fallback-mx primary pause main
    """
    order, _ = _give(name, What.PAUSE, length, reason)
    _tell(order, f"{order.primary} is paused {_until(order)}. Mail for it is taken and kept.", as_json)
    return DONE


@click.command(short_help="Take back a pause or a force.")
@config_option
@json_option
@click.argument("name", shell_complete=primary_names)
@reason_option
def resume(name: str, reason: str, as_json: bool) -> int:
    """Take back a pause, a force, or both: the primary is treated as it is seen.

    What waits for it goes at once if it is up, also what waits out a backoff. The exit code is 3 where there was
    nothing to take back.

    \b
    Examples:
      fallback-mx primary resume main
    """
    order, before = _give(name, What.RESUME, None, reason)
    ended = [each.what.value for each in (before.pause, before.force) if each is not None]
    if not ended:
        complain(f"{order.primary} was neither paused nor forced; nothing was taken back")
        return NOTHING_MATCHED
    _tell(order, f"{order.primary} is resumed; taken back: {', '.join(ended)}.", as_json, before)
    return DONE


@click.command(short_help="Treat it as up or down, whatever is seen of it.")
@config_option
@json_option
@click.argument("name", shell_complete=primary_names)
@click.argument("state", type=click.Choice(["up", "down"]))
@click.option(
    "--for", "length", metavar="TIME", default=USUAL_FORCE, show_default=True, help="How long, such as 30m or 2h."
)
@reason_option
def force(name: str, state: str, length: str, reason: str, as_json: bool) -> int:
    """Treat a primary as up or as down, whatever is seen of it.

    Up: its mail is delivered, and senders are sent to it (`when_up`). Down: mail is taken and kept. The record of
    outages has what was seen, not what was forced. It ends by itself, or with `primary resume`.

    \b
    Examples:
      fallback-mx primary force main down --for 4h --reason "it refuses everybody"
      fallback-mx primary force main up --for 30m
    """
    order, _ = _give(name, What.FORCE_UP if state == "up" else What.FORCE_DOWN, length, reason)
    _tell(order, f"{order.primary} is treated as {state} {_until(order)}.", as_json)
    return DONE


def _give(name: str, what: What, length: str | None, reason: str) -> tuple[Order, Standing]:
    from fallback_mx.orders.book import OrderBook
    from fallback_mx.orders.schema import MIGRATIONS

    lasts = _length(length)
    with opened(MIGRATIONS) as (store, settings):
        primary = the_primary(settings, name)
        now = datetime.now(UTC)
        until = None if lasts is None else now + lasts
        order = Order(primary.name, what, now, until, actor(), reason)
        return order, OrderBook(store.writer.submit, store.read).give(order).result()


def _length(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        length = parse_duration(text)
    except ValueError:
        raise click.UsageError(f"--for {text} is not a duration. Write one such as 30m, 2h or 1d.") from None
    if not timedelta() < length <= LONGEST:
        raise click.UsageError(f"--for {text} is not between a moment and a year.")
    return length


def _until(order: Order) -> str:
    return "until it is resumed" if order.until is None else f"until {short(order.until)}"


def _tell(order: Order, sentence: str, as_json: bool, before: Standing | None = None) -> None:
    if not as_json:
        return say(sentence)
    told: dict[str, object] = {
        "primary": order.primary,
        "what": order.what.value,
        "at": order.at,
        "until": order.until,
        "actor": order.actor,
        "reason": order.reason,
    }
    if before is not None:
        told["ended"] = [each.what.value for each in (before.pause, before.force) if each is not None]
    return print_json(told)
