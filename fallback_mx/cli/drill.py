"""`fallback-mx drill`: a primary treated as down for a while, with real mail, and the proof of what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, complain
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened, walk
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.places import DurationSeconds, the_path
from fallback_mx.cli.printing import print_json, say, short
from fallback_mx.cli.recipients_verify import the_primary

if TYPE_CHECKING:
    from fallback_mx.config import Config, Primary
    from fallback_mx.doctor.proof import Letter, Proof
    from fallback_mx.orders.book import OrderBook
    from fallback_mx.rules.orders import Order
    from mxqueue import Queue

# A running service obeys an order within two seconds.
OBEDIENCE_SECONDS = 3.0
LETTER_SECONDS = 30.0
LOOK_SECONDS = 0.5


@click.command(short_help="Treat a primary as down for a while, and file the proof.")
@config_option
@json_option
@click.argument("name")
@click.option("--for", "length", type=DurationSeconds(), default="10m", show_default=True, help="How long.")
@click.option("--wait", type=DurationSeconds(), default="15m", show_default=True, help="For deliveries after its end.")
@click.option("--to", metavar="ADDRESS", help="Whom the test message goes to. [default: postmaster@ the first domain]")
@click.option("--proof", metavar="FILE", help="Where to file it. [default: drill-NAME-TIME.md in this directory]")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drill(name: str, length: float, wait: float, to: str | None, proof: str | None, yes: bool, as_json: bool) -> int:
    """Treat a primary as down for a while, with the mail that comes, and file the proof of what became of it.

    Senders that come to us in that time are taken, their mail waits and is delivered after the end; a test message is
    among it. The drill ends by itself, whatever becomes of this command; Ctrl-C ends it at once. The record of outages
    has no part of it. The exit code is 1 where the drill could not be held or has not passed.

    \b
    Examples:
      fallback-mx drill main --for 10m
      fallback-mx drill main --for 1h --to you@example.org --proof /root/drill.md --yes
    """
    from fallback_mx.cli.status import tables
    from fallback_mx.orders.book import OrderBook

    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask on: say --yes.")
    with opened(*tables()) as (store, settings):
        primary = the_primary(settings, name)
        forward_path = _recipient(primary, to)
        if hindrance := _hindrance(store, settings, primary):
            complain(hindrance)
            return FAILED
        until = timedelta(seconds=length)
        question = (
            f"Treat {primary.name} as down until {short(datetime.now(UTC) + until)}? Its mail waits here for so long."
        )
        if not yes and not click.confirm(question, err=True):
            complain("no drill was held")
            return FAILED
        # The proof is what it is for: where it cannot be written nothing is begun.
        file = _file(proof, primary)
        found = _hold(store, OrderBook(store.writer.submit, store.read), settings, primary, forward_path, until, wait)
    file.write_text(found.text(), encoding="utf-8")
    if as_json:
        print_json(found.json() | {"proof": str(file)})
    else:
        say(found.sentence)
        say(f"The proof: {file}")
    return FAILED if found.objections else DONE


def _recipient(primary: Primary, to: str | None) -> str:
    path = the_path(to or f"postmaster@{primary.domains[0]}")
    if path.rpartition("@")[2] not in primary.domains:
        raise click.UsageError(f"--to {path} is in no domain of {primary.name}.")
    return path


def _hindrance(store: Queue, settings: Config, primary: Primary) -> str:
    """Why no drill can be held now, "" where one can."""
    from fallback_mx.cli.status import read
    from fallback_mx.rules.health import State

    [now] = [each for each in read(store, settings).primaries if each.name == primary.name]
    if now.orders.pause is not None or now.orders.force is not None:
        return f"{primary.name} is paused or forced already; `fallback-mx primary resume {primary.name}` first"
    if now.state is not State.UP:
        return f"{primary.name} is {now.state.value}: a drill begins with a primary that is up, and a service that runs"
    return ""


def _file(proof: str | None, primary: Primary) -> Path:
    """Where it goes, made already. Raises click.UsageError."""
    path = Path(proof or f"drill-{primary.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.md")
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        raise click.UsageError(f"{path} is there already: name another --proof.") from None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}; name another --proof.") from None
    return path


def _hold(
    store: Queue,
    book: OrderBook,
    settings: Config,
    primary: Primary,
    forward_path: str,
    length: timedelta,
    wait: float,
) -> Proof:
    from fallback_mx.doctor.proof import Letter, Proof
    from fallback_mx.rules.orders import Order, What

    began = datetime.now(UTC)
    order = Order(primary.name, What.FORCE_DOWN, began, began + length, actor(), "drill")
    book.give(order).result()
    letter, is_cut_short, ended = Letter(trouble="the drill was stopped before"), False, began + length
    try:
        time.sleep(min(OBEDIENCE_SECONDS, length.total_seconds()))
        letter = _send_letter(store, settings, forward_path, ended)
        _until(lambda: datetime.now(UTC) >= ended, length.total_seconds(), f"{primary.name} counts as down")
    except KeyboardInterrupt:
        is_cut_short = True
    finally:
        # It ends by itself; this is for who stops it, and for a clock that is not the service's.
        ended = min(ended, datetime.now(UTC))
        book.give(replace(order, what=What.RESUME, at=datetime.now(UTC), until=None, reason="drill over")).result()

    def look() -> Proof:
        found = Proof(
            primary.name, settings.server.hostname, order.actor, began, ended, datetime.now(UTC), letter,
            is_cut_short=is_cut_short,
        )  # fmt: skip
        return _counted(store, found, order)

    with contextlib.suppress(KeyboardInterrupt):
        _until(lambda: look().states.get("pending", 0) == 0, wait, f"mail for {primary.name} is delivered")
    return look()


def _until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for this, at most so long; say so on a terminal."""
    is_watched, deadline = sys.stderr.isatty(), time.monotonic() + seconds
    while not is_so() and (left := deadline - time.monotonic()) > 0:
        if is_watched:
            click.echo(f"\r\x1b[K{what}, {left:.0f} s left", err=True, nl=False)
        time.sleep(min(LOOK_SECONDS, left))
    if is_watched:
        click.echo("\r\x1b[K", err=True, nl=False)


def _send_letter(store: Queue, settings: Config, forward_path: str, ended: datetime) -> Letter:
    """Bring the test message to our listener; again where the order is not obeyed yet."""
    from fallback_mx.doctor.letter import letter as written
    from fallback_mx.doctor.patient import reachable
    from fallback_mx.doctor.posting import post
    from fallback_mx.doctor.proof import Letter

    place = next(((reachable(each.host), each.port) for each in settings.server.listen if each.port), None)
    if place is None:
        return Letter(trouble="server.listen names no port")
    content = written(
        hostname=settings.server.hostname,
        forward_path=forward_path,
        actor=f"{actor()} on {socket.gethostname()}",
        at=datetime.now(UTC),
        tag=store.new_id(),
    )
    deadline = time.monotonic() + LETTER_SECONDS
    while True:
        posted = asyncio.run(post(place, "", forward_path, content))
        if posted.queue_id:
            return Letter(posted.queue_id)
        if not posted.is_guarded or time.monotonic() >= deadline or datetime.now(UTC) >= ended:
            return Letter(trouble=posted.why_not)
        time.sleep(1)


def _counted(store: Queue, found: Proof, order: Order) -> Proof:
    """The same with what became of the mail that was taken in that time."""
    from mxqueue import Filter
    from mxqueue.model import RecipientState

    wanted = Filter(
        route=order.primary,
        states=frozenset(RecipientState),
        arrived_after=found.began,
        arrived_before=found.ended,
    )
    messages, states = 0, Counter[str]()
    last: datetime | None = None
    letter = found.letter
    for message in walk(store, wanted):
        messages += 1
        for each in message.recipients:
            states[each.state.value] += 1
            last = max(filter(None, (last, each.delivered_at)), default=None)
            if message.id == letter.queue_id:
                letter = replace(
                    letter,
                    accepted_at=message.arrived_at,
                    delivered_at=each.delivered_at,
                    reply=each.last_reply,
                )
    return replace(found, messages=messages, recipients=dict(states), last_delivered_at=last, letter=letter)
