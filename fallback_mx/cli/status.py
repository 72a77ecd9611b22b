"""`fallback-mx status`: a sentence, then a line for each primary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, print_table, say, short

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.sla.uptime import Uptime
    from fallback_mx.status import Status
    from mxqueue import Queue

COLUMNS = ("PRIMARY", "STATE", "SINCE", "MESSAGES", "HELD", "OLDEST", "UP THIS MONTH")


@click.command()
@config_option
@json_option
def status(as_json: bool) -> int:
    """Say how the primaries are and what waits. Read from the database, so the service need not run.

    \b
    Examples:
      fallback-mx status
      fallback-mx status --json | jq -r .sentence
    """
    from fallback_mx.sentence import sentence
    from fallback_mx.status import as_json as as_json_of

    with opened() as (store, settings):
        current = read(store, settings)
    if as_json:
        print_json(as_json_of(current, sentence(current)))
        return DONE
    say(sentence(current))
    click.echo()
    print_table(COLUMNS, rows(current), right=("MESSAGES", "HELD"), fixed=("SINCE", "OLDEST"))
    return DONE


def read(store: Queue, settings: Config) -> Status:
    """The status as the database has it. Raises QueueError."""
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.status import read_status

    log = OutageLog(store.writer.submit, store.read, settings.server.hostname)
    return read_status(store, log, gaps(settings), datetime.now(UTC))


def gaps(settings: Config) -> Mapping[str, timedelta]:
    """How long each primary may go without a look before it counts as unwatched."""
    from fallback_mx.status import patience
    from mxqueue.engine import is_served

    if is_served(settings.storage.url) is False:
        # Whatever was seen last, nobody is looking now.
        return {primary.name: timedelta() for primary in settings.primaries}
    return {primary.name: patience(primary.interval) for primary in settings.primaries}


def rows(current: Status) -> list[tuple[object, ...]]:
    """A row for each primary."""
    return [
        (
            primary.name,
            primary.state.value if primary.is_configured else "not configured",
            short(primary.since),
            primary.queued.messages,
            primary.queued.held_messages,
            short(primary.queued.oldest_arrived_at),
            percent(current.uptime.get(primary.name)),
        )
        for primary in current.primaries
    ]


def percent(uptime: Uptime | None) -> str:
    """The share of the watched time that was up, cut off, never rounded up to 100 %."""
    share = None if uptime is None else uptime.availability
    if share is None:
        return "not watched"
    thousandths = share.numerator * 100_000 // share.denominator
    return f"{thousandths // 1000}.{thousandths % 1000:03d} %"
