"""Opens the queue for a command: what is there, as it is. Nothing is created or migrated here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fallback_mx.cli.options import load_config

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from mxqueue import Filter, Message, Queue
    from mxqueue.migrate import Migrations

PAGE = 500


@contextmanager
def opened(*also: Migrations) -> Iterator[tuple[Queue, Config]]:
    """The configured queue, whether or not the service runs; `also` names more tables that the command needs.

    Raises ConfigError and QueueError.
    """
    from fallback_mx.outages.schema import MIGRATIONS
    from mxqueue import Queue
    from mxqueue.migrate import QUEUE

    config = load_config()
    tables = (QUEUE, MIGRATIONS, *also)
    queue = Queue.open(config.storage.url, node=config.server.hostname, migrations=tables)
    try:
        yield queue, config
    finally:
        queue.close()


def migrations() -> tuple[Migrations, ...]:
    """Every set of tables that this program keeps in the database."""
    from fallback_mx.maintenance import schema as maintenance
    from fallback_mx.orders import schema as orders
    from fallback_mx.outages import schema as outages
    from fallback_mx.published import schema as published
    from fallback_mx.recipients import schema as recipients
    from fallback_mx.settlement import schema as settlement
    from mxqueue.migrate import QUEUE

    ours = (outages, recipients, orders, settlement, maintenance, published)
    return (QUEUE, *(one.MIGRATIONS for one in ours))


def walk(queue: Queue, wanted: Filter) -> Iterator[Message]:
    """All messages that match, in order of arrival, a page in memory at a time."""
    after: str | None = None
    while page := queue.list(wanted, PAGE, after).result():
        yield from page
        after = page[-1].id
