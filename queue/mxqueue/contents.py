"""Content as it lies in the queue: found by queue id, each message by itself.

A chunk that is missing, altered or unreadable is the trouble of its own message: it is raised as `Damaged` when that
message's content is read, and the others of the same call are as good as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, and_, exists, literal_column, select

from mxqueue.among import among
from mxqueue.causes import classify
from mxqueue.errors import Damaged, NoSuchMessage, QueueError, QueueUnavailable
from mxqueue.schema import chunk, message, recipient
from mxqueue.spool import StoredContent

T = TypeVar("T")

# What a whole batch of claims may bring into memory with it; the rest is read when it is sent.
PREFETCH_OCTETS = 128 * 1024


def read(engine: Engine, op: Callable[[Connection], T]) -> T:
    """Run `op` on a connection of the readers' engine. Raises QueueError."""
    try:
        with engine.connect() as connection:
            return op(connection)
    except QueueError:
        raise
    except Exception as error:
        raise classify(error) from error


def find(engine: Engine, message_id: str) -> StoredContent:
    """A message's content. Raises NoSuchMessage where there is no message, or its content has been deleted."""

    def is_kept(connection: Connection) -> bool:
        lives = exists().where(
            recipient.c.message_id == message_id, literal_column("recipient.state IN ('pending', 'held')")
        )
        return bool(connection.scalar(select(lives | exists().where(chunk.c.message_id == message_id))))

    content = find_all(engine, [message_id])[message_id]
    if content.size > 0 and not read(engine, is_kept):
        raise NoSuchMessage(f"{message_id}: its content has been deleted")
    return content


def find_all(engine: Engine, ids: Sequence[str]) -> dict[str, StoredContent]:
    """The contents of several messages. Raises NoSuchMessage if one of the messages does not exist."""
    wanted = among(message.c.id, ids)
    try:
        rows = read(engine, lambda connection: _rows(connection, wanted, prefetch=True))
    except QueueUnavailable:
        raise
    except QueueError:
        # One of them cannot be read. Which one will show when its content is asked for.
        rows = read(engine, lambda connection: _rows(connection, wanted, prefetch=False))
    found = {row.id: StoredContent(row.id, row.size, row.sha256, _reader(engine, row)) for row in rows}
    for message_id in ids:
        if message_id not in found:
            raise NoSuchMessage(f"{message_id}: no such message")
    return found


def _rows(connection: Connection, wanted: ColumnElement[bool], *, prefetch: bool) -> list[Any]:
    columns = (message.c.id, message.c.size, message.c.sha256)
    if not prefetch:
        return list(connection.execute(select(*columns).where(wanted)))
    first = and_(chunk.c.message_id == message.c.id, chunk.c.position == 0, message.c.size <= PREFETCH_OCTETS)
    query = select(*columns, chunk.c.octets).join_from(message, chunk, first, isouter=True)
    return list(connection.execute(query.where(wanted)))


def _reader(engine: Engine, row: Any) -> Callable[[int], bytes | None]:
    octets = getattr(row, "octets", None)
    if octets is not None:
        return {0: bytes(octets)}.get
    message_id = row.id

    def fetch(position: int) -> bytes | None:
        query = select(chunk.c.octets).where(chunk.c.message_id == message_id, chunk.c.position == position)
        try:
            found = read(engine, lambda connection: connection.scalar(query))
        except Damaged as error:
            raise Damaged(f"{message_id}: chunk {position} cannot be read: {error}") from error
        return None if found is None else bytes(found)

    return fetch
