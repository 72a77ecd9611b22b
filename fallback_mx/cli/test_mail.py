"""`fallback-mx test-mail`: one message through everything, with the time that each step took."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, load_config
from fallback_mx.cli.places import DurationSeconds, the_path
from fallback_mx.cli.printing import print_json, print_table, say
from fallback_mx.visible import visible

if TYPE_CHECKING:
    from fallback_mx.config import Config, Primary
    from fallback_mx.doctor.posting import Posted, Stage
    from mxqueue import LedgerRow, Queue

COLUMNS = ("STEP", "SECONDS", "SAID")
LOOK_SECONDS = 0.2
STATE_SECONDS = 1.0
# The outcomes, and how each ends the command.
DELIVERED, PLAYED, WAITS, HELD, REFUSED, GONE = "delivered", "played_through", "waits", "held", "refused", "gone"
CODES = {DELIVERED: DONE, PLAYED: DONE, WAITS: PARTLY_DONE, HELD: FAILED, REFUSED: FAILED, GONE: FAILED}


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went. `sentence` says it, `queue_id` is "" where nothing was queued."""

    to: str
    outcome: str
    sentence: str
    stages: tuple[Stage, ...]
    queue_id: str = ""


@click.command("test-mail", short_help="Send one message through everything, with timings.")
@config_option
@json_option
@click.option("--to", metavar="ADDRESS", help="Its recipient. [default: postmaster@DOMAIN]")
@click.option("--sender", metavar="ADDRESS", default="", help="Its reverse-path. [default: the null one, <>]")
@click.option(
    "--wait", type=DurationSeconds(), default="2m", show_default=True, help="How long to wait for its delivery."
)
@click.argument("domain")
def test_mail(domain: str, to: str | None, sender: str, wait: float, as_json: bool) -> int:
    """Send one message to DOMAIN through everything: our listener, the queue, the primary. The service must run.

    Where the listener sends senders away because the primary is up (when_up = "guard"), that is told, and the
    message is put into the queue directly. The times of what follows are those of the ledger. While the primary is
    down the message waits, and this command does not: exit code 5. It is 1 where the message was refused or held.

    \b
    Examples:
      fallback-mx test-mail example.org
      fallback-mx test-mail example.org --to you@example.org
      fallback-mx test-mail example.org --json | jq .outcome
    """
    from fallback_mx.cli.status import tables

    primary, forward_path = _meant(load_config(), domain, to)
    if primary is None:
        complain(f"{visible(domain)[:80]} is a domain of no primary")
        return NOTHING_MATCHED
    with opened(*tables()) as (store, settings):
        trial = _try(store, settings, primary, the_path(sender), forward_path, wait)
    if as_json:
        print_json(_json(trial))
    else:
        rows = [(each.name, f"{each.seconds:.3f}", each.said) for each in trial.stages]
        print_table(COLUMNS, rows, right=("SECONDS",), fixed=("STEP",))
        say(trial.sentence)
    return CODES[trial.outcome]


def _meant(settings: Config, domain: str, to: str | None) -> tuple[Primary | None, str]:
    """Raises click.UsageError."""
    from fallback_mx.domains import normalised

    try:
        wanted = normalised(domain)
    except ValueError as reason:
        raise click.UsageError(f"{visible(domain)[:80]} is not a domain: {reason}.") from None
    found = next((one for one in settings.primaries if wanted in one.domains), None)
    forward_path = the_path(to or f"postmaster@{wanted}")
    if forward_path.rpartition("@")[2] != wanted:
        raise click.UsageError(f"--to {visible(forward_path)[:80]} is not in {wanted}.")
    return found, forward_path


def _try(store: Queue, settings: Config, primary: Primary, reverse_path: str, forward_path: str, wait: float) -> Trial:
    from fallback_mx.doctor.letter import letter
    from fallback_mx.doctor.patient import reachable
    from fallback_mx.doctor.posting import post

    hostname = settings.server.hostname
    content = letter(
        hostname=hostname,
        forward_path=forward_path,
        actor=f"{actor()} on {socket.gethostname()}",
        at=datetime.now(UTC),
        tag=store.new_id(),
    )
    place = next(((reachable(each.host), each.port) for each in settings.server.listen if each.port), None)
    if place is None:
        raise click.UsageError("server.listen names no port: there is no listener to bring it to.")
    posted = asyncio.run(post(place, reverse_path, forward_path, content))
    trial = Trial(forward_path, REFUSED, "", posted.stages)
    if posted.queue_id:
        return _followed(store, settings, primary, replace(trial, queue_id=posted.queue_id), wait)
    if posted.is_guarded:
        queue_id = _put_in(store, primary, hostname, reverse_path, forward_path, content)
        said = "put into the queue directly: the listener sends senders to a primary that is up, as it should"
        return _followed(store, settings, primary, replace(trial, queue_id=queue_id), wait, said)
    if posted.is_played_through:
        sentence = f"{primary.name} is up and took it itself, played through: nothing was queued."
        return replace(trial, outcome=PLAYED, sentence=sentence)
    return replace(trial, sentence=_not_taken(posted, place))


def _not_taken(posted: Posted, place: tuple[str, int]) -> str:
    if posted.reply is None:
        return f"Our listener at {place[0]} port {place[1]} could not be spoken to: is the service running?"
    return f"Our listener did not take it: {posted.why_not}"


def _put_in(store: Queue, primary: Primary, hostname: str, reverse_path: str, forward_path: str, content: bytes) -> str:
    from fallback_mx.doctor.listening import HELLO_NAME
    from fallback_mx.rules.trace import received
    from mxqueue import BytesContent, Envelope

    queue_id = store.new_id()
    line = received(
        helo=HELLO_NAME,
        client_address="127.0.0.1",
        hostname=hostname,
        protocol="SMTP",
        queue_id=queue_id,
        at=datetime.now(UTC),
    )
    envelope = Envelope(reverse_path, (forward_path,), primary.name, "127.0.0.1", HELLO_NAME, trace=line, id=queue_id)
    store.accept([envelope], BytesContent(content)).result()
    return queue_id


def _followed(
    store: Queue, settings: Config, primary: Primary, trial: Trial, wait: float, queued_how: str = ""
) -> Trial:
    """Wait for what becomes of it: by the ledger, while the primary is not down."""
    deadline = time.monotonic() + wait
    next_state = 0.0
    waits_for = ""
    while True:
        message, ledger = store.show(trial.queue_id).result()
        state = message.recipients[0].state.value
        if state != "pending":
            break
        now = time.monotonic()
        if now >= next_state:
            waits_for, next_state = _what_keeps_it(store, settings, primary), now + STATE_SECONDS
        if waits_for or now >= deadline:
            break
        time.sleep(LOOK_SECONDS)
    stages = (*trial.stages, *_told(ledger, queued_how))
    outcome = {"pending": WAITS, "delivered": DELIVERED, "held": HELD}.get(state, GONE)
    return replace(trial, stages=stages, outcome=outcome, sentence=_sentence(trial, ledger, outcome, waits_for, wait))


def _what_keeps_it(store: Queue, settings: Config, primary: Primary) -> str:
    """Why nothing will be delivered soon; "" where it may be."""
    from fallback_mx.cli.status import read
    from fallback_mx.rules.health import State

    [now] = [each for each in read(store, settings).primaries if each.name == primary.name]
    if now.orders.pause is not None:
        return f"{primary.name} is paused: it is delivered when that ends"
    state = now.orders.state(now.state)
    if state is State.DOWN:
        return f"{primary.name} is down ({now.cause or 'by order'}): it is delivered when that is over"
    return ""


def _told(ledger: Sequence[LedgerRow], queued_how: str) -> list[Stage]:
    """Each row, with the seconds since the one before it."""
    from fallback_mx.doctor.posting import Stage

    first = ledger[0]
    told = [Stage("queued", queued_how or first.detail, 0.0)]
    for before, row in pairwise(ledger):
        told.append(Stage(row.event.value, row.detail, (row.at - before.at).total_seconds()))
    return told


def _sentence(trial: Trial, ledger: Sequence[LedgerRow], outcome: str, waits_for: str, wait: float) -> str:
    taken = ledger[-1].at - ledger[0].at
    more = f"`fallback-mx queue show {trial.queue_id}` tells the rest"
    if outcome == DELIVERED:
        return f"Delivered to {trial.to}, {taken / timedelta(seconds=1):.3f} s after it was queued."
    if outcome == WAITS and waits_for:
        return f"It is safe in the queue and waits: {waits_for}; {more}."
    if outcome == WAITS:
        return f"It is safe in the queue, and was not delivered within {wait:g} s; {more}."
    return f"It was not delivered ({ledger[-1].event.value}: {ledger[-1].detail}); {more}."


def _json(trial: Trial) -> dict[str, object]:
    return {
        "to": trial.to,
        "outcome": trial.outcome,
        "queue_id": trial.queue_id or None,
        "sentence": trial.sentence,
        "steps": [{"step": each.name, "seconds": round(each.seconds, 6), "said": each.said} for each in trial.stages],
    }
