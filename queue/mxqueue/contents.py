"""Content as it lies in the queue: found by queue id, each message by itself.

A chunk that is missing, altered or unreadable is the trouble of its own message: it is raised as `Damaged` when that
message's content is read, and the others of the same call are as good as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, and_, bindparam, exists, literal_column, null, select

from mxqueue.among import among_bound
from mxqueue.causes import classify
from mxqueue.errors import Damaged, NoSuchMessage, QueueError, QueueUnavailable
from mxqueue.prepared import Prepared, texts
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


_COLUMNS = (message.c.id, message.c.size, message.c.sha256)
_IS_FIRST: ColumnElement[bool] = literal_column(f"chunk.position = 0 AND message.size <= {PREFETCH_OCTETS}")
_PREFETCHED = Prepared(
    select(*_COLUMNS, chunk.c.octets)
    .join_from(message, chunk, and_(chunk.c.message_id == message.c.id, _IS_FIRST), isouter=True)
    .where(among_bound(message.c.id, "ids")),
    "ids",
)
_BARE = Prepared(select(*_COLUMNS, null()).where(among_bound(message.c.id, "ids")), "ids")
_PIECE = Prepared(
    select(chunk.c.octets).where(chunk.c.message_id == bindparam("b_id"), chunk.c.position == bindparam("b_position")),
    *("b_id", "b_position"),
)


def find_all(engine: Engine, ids: Sequence[str]) -> dict[str, StoredContent]:
    """The contents of several messages. Raises NoSuchMessage if one of the messages does not exist."""
    try:
        rows = read(engine, lambda connection: _PREFETCHED.one(connection, texts(connection, ids)).all())
    except QueueUnavailable:
        raise
    except QueueError:
        # One of them cannot be read. Which one will show when its content is asked for.
        rows = read(engine, lambda connection: _BARE.one(connection, texts(connection, ids)).all())
    found = {row[0]: StoredContent(row[0], row[1], row[2], _reader(engine, row[0], row[3])) for row in rows}
    for message_id in ids:
        if message_id not in found:
            raise NoSuchMessage(f"{message_id}: no such message")
    return found


def _reader(engine: Engine, message_id: str, octets: bytes | None) -> Callable[[int], bytes | None]:
    """Reads a chunk; the first is here already where there are `octets`."""
    if octets is not None:
        return {0: octets}.get

    def fetch(position: int) -> bytes | None:
        try:
            row = read(engine, lambda connection: _PIECE.one(connection, message_id, position).first())
        except Damaged as error:
            raise Damaged(f"{message_id}: chunk {position} cannot be read: {error}") from error
        return None if row is None else row[0]

    return fetch
