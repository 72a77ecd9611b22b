"""`fallback-mx outage show ID`: the evidence of one span, told as a story."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.spoken import counted, duration
from fallback_mx.visible import impersonal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fallback_mx.outages.gaps import Unknown
    from fallback_mx.outages.spans import Span

COLUMNS = ("AT", "WHAT")


def register(group: click.Group) -> None:
    group.add_command(show)


@click.command(short_help="Tell one outage, with its evidence.")
@config_option
@json_option
@click.argument("span_id", metavar="ID")
def show(span_id: str, as_json: bool) -> int:
    """Tell what is on record of one outage, slow time or closed port: what was seen first and last, what ended it, the
    mail that came and went meanwhile, and the time within it that nobody watched.

    `outage list` has the ids; the beginning of one will do. Times are UTC.

    \b
    Examples:
      fallback-mx outage show 01KB2Q8GZ4
      fallback-mx outage show 01KB2Q8GZ4 --json
    """
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.sla.intervals import Interval

    with opened() as (store, settings):
        log = OutageLog(store.writer.submit, store.read, settings.server.hostname)
        found = log.find(span_id.upper()).result() if span_id else []
        if len(found) != 1:
            complain(f"{'no' if not found else 'more than one'} id begins with {span_id}: see fallback-mx outage list")
            return NOTHING_MATCHED
        span = found[0]
        end = max(span.started_at, span.ended_at or datetime.now(UTC))
        unknown = log.unknown(span.primary, Interval(span.started_at, end)).result()
    if as_json:
        from fallback_mx.outages.forms import span_json, unknown_json

        told = span_json(span) | {"unknown": [unknown_json(span.primary, piece) for piece in unknown]}
        print_json({"kind": span.kind.value} | told)
    else:
        _print(span, unknown, end)
    return DONE


def _print(span: Span, unknown: Sequence[Unknown], end: datetime) -> None:
    from fallback_mx.outages.story import story

    say(headline(span, end))
    click.echo()
    rows = [
        (short(line.at) + (f" to {short(line.until)}" if line.until is not None else ""), impersonal(line.text))
        for line in story(span, unknown)
    ]
    print_table(COLUMNS, rows, fixed=("AT",))
    click.echo()
    accepted, delivered = counted(span.mail_accepted, "message"), counted(span.mail_delivered, "recipient")
    say(f"Meanwhile {accepted} came in here, and mail went out to {delivered}. Seen by {span.node}; id {span.id}.")


def headline(span: Span, end: datetime) -> str:
    """What it was, of whom, and for how long."""
    length = duration(end - span.started_at)
    what = {
        "outage": f"{span.primary} was down" if span.confirmed_at is not None else f"{span.primary} failed",
        "slow": f"{span.primary} was slow",
        "port": f"nobody answered at port {span.subject} of {span.primary}",
    }[span.kind.value]
    if span.is_open:
        return f"Since {short(span.started_at)}, for {length}, {what}, and it goes on."
    blip = ", too briefly to count" if span.is_blip else ""
    return f"From {short(span.started_at)} to {short(span.ended_at)}, for {length}, {what}{blip}."
