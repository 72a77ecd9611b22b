"""`fallback-mx status`: a sentence, then a line for each primary, then how its drain goes where a service says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE
from fallback_mx.cli.maintenance_terms import upkeeps
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.spoken import duration
from fallback_mx.visible import impersonal

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.sla.uptime import Uptime
    from fallback_mx.status import Status
    from mxqueue import Queue
    from mxqueue.migrate import Migrations

COLUMNS = ("PRIMARY", "STATE", "SINCE", "MESSAGES", "HELD", "OLDEST", "UP THIS MONTH")
DRAIN_COLUMNS = ("PRIMARY", "DELIVERY", "CONNECTIONS", "ALLOWED", "CAP", "MESSAGES/S", "LEFT", "WHY")


@click.command()
@config_option
@json_option
def status(as_json: bool) -> int:
    """Say how the primaries are and what waits.

    It is read from the database, so the service need not run. How deliveries go just now only a running service can
    say: it is asked where [http] listens on this machine.

    \b
    Examples:
      fallback-mx status
      fallback-mx status --json | jq -r .sentence
    """
    from fallback_mx.cli.live import drains
    from fallback_mx.sentence import sentence
    from fallback_mx.status import as_json as as_json_of
    from fallback_mx.status import with_drains

    with opened(*tables()) as (store, settings):
        current = with_drains(read(store, settings), drains(settings))
    if as_json:
        print_json(as_json_of(current, sentence(current)))
        return DONE
    say(sentence(current))
    click.echo()
    print_table(COLUMNS, rows(current), right=("MESSAGES", "HELD"), fixed=("SINCE", "OLDEST"))
    if drain_rows := list(_drain_rows(current)):
        click.echo()
        print_table(DRAIN_COLUMNS, drain_rows, right=DRAIN_COLUMNS[2:7])
    return DONE


def _drain_rows(current: Status) -> Iterator[tuple[object, ...]]:
    for primary in current.primaries:
        if (drain := primary.drain) is not None:
            yield (
                primary.name,
                drain.phase.value,
                drain.connections,
                drain.allowed_connections,
                drain.max_connections,
                f"{drain.messages_per_second:.3g}",
                "" if primary.time_left is None else duration(primary.time_left),
                impersonal(drain.reason),
            )


def tables() -> tuple[Migrations, ...]:
    """Those that a status is read from, besides those that every command opens."""
    from fallback_mx.maintenance import schema as maintenance
    from fallback_mx.orders import schema as orders

    return (orders.MIGRATIONS, maintenance.MIGRATIONS)


def read(store: Queue, settings: Config) -> Status:
    """The status as the database has it, which was opened with its `tables`. Raises QueueError."""
    from fallback_mx.orders.book import OrderBook
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.status import read_status, with_upkeeps
    from mxqueue.engine import is_served

    log = OutageLog(store.writer.submit, store.read, settings.server.hostname)
    book = OrderBook(store.writer.submit, store.read)
    now = datetime.now(UTC)
    served = is_served(settings.storage.url)
    found = with_upkeeps(read_status(store, log, book, gaps(settings, served), now), upkeeps(store, settings, now))
    return replace(found, is_running=served)


def gaps(settings: Config, served: bool | None) -> Mapping[str, timedelta]:
    """How long each primary may go without a look before it counts as unwatched."""
    from fallback_mx.status import patience

    if served is False:
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
