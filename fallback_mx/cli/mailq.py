"""`fallback-mx mailq`: the queue as Postfix's `mailq` prints it, for eyes and programs that are used to that.

A command by that name, and no option of `queue list`, since the name is the habit: `alias mailq='fallback-mx mailq'` is
all that fingers and old plugins want. Times are local ones, as they are there; everywhere else they are UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE
from fallback_mx.cli.opening import opened, walk
from fallback_mx.cli.options import config_option
from fallback_mx.visible import visible

if TYPE_CHECKING:
    from mxqueue import Message, Recipient

# showq(8) with long queue ids, its columns wide enough for ours.
_HEADING = f"{'-------Queue ID--------':27} {'--Size--':>8} {'---Arrival Time----':19} --Sender/Recipient------"
_ADDRESS_COLUMN = 57
_REASON_ENDS = 76


@click.command(short_help="List the queue as Postfix's mailq does.")
@config_option
def mailq() -> int:
    """List the queue as Postfix's mailq does; `queue list` says more.

    An asterisk behind the id: it is being delivered at this moment; an exclamation mark: it is held. In parentheses
    stands what the next hop last said of the recipients below. Times are local. The sizes at the end are added up.

    \b
    Examples:
      fallback-mx mailq
      alias mailq='fallback-mx mailq'
    """
    from mxqueue import Filter

    octets = messages = 0
    with opened() as (store, _):
        now = datetime.now(UTC)
        for message in walk(store, Filter()):
            click.echo(_HEADING if not messages else "")
            for line in entry(message, now):
                click.echo(line)
            octets += message.size
            messages += 1
    if not messages:
        click.echo("Mail queue is empty")
    else:
        click.echo(f"\n-- {octets // 1024} Kbytes in {messages} Request{'' if messages == 1 else 's'}.")
    return DONE


def entry(message: Message, now: datetime) -> Iterator[str]:
    """The lines of one message: what it is, then its recipients, those of one reason together."""
    waiting = [one for one in message.recipients if one.state.is_live]
    arrived = message.arrived_at.astimezone().strftime("%a %b %e %H:%M:%S")
    sender = visible(message.reverse_path) or "MAILER-DAEMON"
    yield f"{message.id + _mark(waiting, now):27} {message.size:8} {arrived:19} {sender}"
    said = ""
    for one in sorted(waiting, key=lambda one: one.last_reply):
        if one.last_reply and one.last_reply != said:
            said = one.last_reply
            yield f"({visible(said)})".rjust(_REASON_ENDS)
        yield " " * _ADDRESS_COLUMN + visible(one.forward_path)


def _mark(waiting: list[Recipient], now: datetime) -> str:
    if any(one.lease_until is not None and one.lease_until > now for one in waiting):
        return "*"
    return "!" if all(one.state == "held" for one in waiting) else ""
