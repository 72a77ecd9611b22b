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
def opened() -> Iterator[tuple[Queue, Config]]:
    """The configured queue, whether or not the service runs. Raises ConfigError and QueueError."""
    from mxqueue import Queue

    config = load_config()
    queue = Queue.open(config.storage.url, node=config.server.hostname, migrations=migrations())
    try:
        yield queue, config
    finally:
        queue.close()


def migrations() -> tuple[Migrations, ...]:
    """Every set of tables that this program keeps in the database."""
    from fallback_mx.outages.schema import MIGRATIONS
    from mxqueue.migrate import QUEUE

    return (QUEUE, MIGRATIONS)


def walk(queue: Queue, wanted: Filter) -> Iterator[Message]:
    """All messages that match, in order of arrival, a page in memory at a time."""
    after: str | None = None
    while page := queue.list(wanted, PAGE, after).result():
        yield from page
        after = page[-1].id
