"""One message told at length: its envelope, its recipients and its ledger; and its content on a terminal."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fallback_mx.cli.printing import print_table, say, short
from fallback_mx.spoken import counted, duration, octets
from fallback_mx.visible import visible
from mxqueue.model import LedgerEvent, RecipientState

if TYPE_CHECKING:
    from fallback_mx.status import Primary
    from mxqueue import LedgerRow, Message, Recipient

# What each ledger event means, in words that need no glossary.
_STORY = {
    LedgerEvent.ACCEPTED: "accepted and stored",
    LedgerEvent.DELIVERED: "delivered, the primary said",
    LedgerEvent.DEFERRED: "deferred",
    LedgerEvent.FAILED: "failed for good",
    LedgerEvent.EXPIRED: "expired",
    LedgerEvent.HELD: "held",
    LedgerEvent.RELEASED: "released",
    LedgerEvent.REMOVED: "removed",
    LedgerEvent.RETRIED: "made due at once",
    LedgerEvent.AMBIGUOUS: "perhaps delivered, the reply was lost",
    LedgerEvent.REFUSED: "a late outcome was not counted",
    LedgerEvent.KEPT: "kept",
    LedgerEvent.REDELIVERED: "to be delivered once more",
    LedgerEvent.FORGOTTEN: "no longer kept",
    LedgerEvent.EXPORTED: "exported",
    LedgerEvent.IMPORTED: "imported",
    LedgerEvent.CONTINUED: "imported again",
}


def tell(message: Message, ledger: Sequence[LedgerRow], primary: Primary | None) -> None:
    """Print the story of a message. `primary` is its primary now, None where that is not configured."""
    for line in header(message):
        say(line)
    if message.keep_until is not None:
        say(f"kept      until {short(message.keep_until)}, delivered or not")
    say(f"client    {message.client_address or 'unknown'}, which called itself {message.helo or 'nothing'}")
    click.echo()
    rows = [
        (one.forward_path, one.state.value, one.attempts, _next_attempt(one, message.route, primary), one.last_reply)
        for one in message.recipients
    ]
    print_table(("TO", "STATE", "ATTEMPTS", "NEXT ATTEMPT", "LAST REPLY"), rows, right=("ATTEMPTS",))
    click.echo()
    say(f"{counted(len(ledger), 'entry', 'entries')} in the ledger:")
    for row in ledger:
        say(f"{short(row.at)}  {row.forward_path}  {told(row)}")


def _next_attempt(recipient: Recipient, name: str, primary: Primary | None) -> str:
    """When it is tried next, as far as that is known: never a moment that has passed."""
    now = datetime.now(UTC)
    if recipient.state is not RecipientState.PENDING:
        return ""
    if recipient.lease_until is not None and recipient.lease_until > now:
        return f"now, by {recipient.lease_owner}"
    if primary is None:
        return f"none, {name} is not configured"
    # Whatever its backoff: what waits is made due when the primary comes back.
    if primary.orders.pause is not None:
        return f"when {name} is no longer paused"
    if not primary.orders.may_deliver(primary.state):
        return f"when {name} is up"
    return short(recipient.not_before) if recipient.not_before > now else "due now"


def header(message: Message) -> tuple[str, ...]:
    """The lines that a message is introduced with."""
    age = datetime.now(UTC) - message.arrived_at
    return (
        f"{message.id}  {octets(message.size)} for {message.route}",
        f"from      {message.reverse_path or '<> (the null reverse-path)'}",
        f"arrived   {short(message.arrived_at)}, {duration(age)} ago, at {message.node}",
    )


def told(row: LedgerRow) -> str:
    """What a row of the ledger says, in a clause."""
    who = f" by {row.actor}" if row.actor else ""
    return f"{_STORY[row.event]}{who}{': ' + row.detail if row.detail else ''}"


def details_json(message: Message, ledger: Sequence[LedgerRow]) -> dict[str, Any]:
    """What `queue show --json` has beyond a line of the list."""
    return {
        "helo": message.helo,
        "node": message.node,
        "keep_until": message.keep_until,
        "body": message.body,
        "smtputf8": message.smtputf8,
        "trace": message.trace.decode("utf-8", "backslashreplace"),
        "ledger": [row_json(row) for row in ledger],
    }


def row_json(row: LedgerRow) -> dict[str, Any]:
    """A row of the ledger for programs."""
    return {
        "at": row.at,
        "event": row.event.value,
        "forward_path": row.forward_path,
        "detail": row.detail,
        "actor": row.actor,
        "node": row.node,
    }


def content_json(message: Message, content: bytes) -> dict[str, Any]:
    """A message's octets for programs."""
    return {
        "id": message.id,
        "trace": message.trace.decode("utf-8", "backslashreplace"),
        "content_base64": base64.b64encode(content).decode("ascii"),
    }


def print_on_terminal(pieces: Iterable[bytes]) -> None:
    """Content for eyes: line by line, whatever could act on the terminal written as an escape."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + decoder.decode(piece)).split("\r\n")
        for line in lines:
            click.echo(_line(line))
    if rest := rest + decoder.decode(b"", final=True):
        click.echo(_line(rest))


def _line(text: str) -> str:
    return "\t".join(visible(part) for part in text.split("\t"))
