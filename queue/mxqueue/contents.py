"""Content as it lies in the queue, read through SQLAlchemy; what of it is whole stands in reading.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, and_, bindparam, exists, literal_column, null, select

from mxqueue import reading
from mxqueue.among import among_bound
from mxqueue.causes import classify
from mxqueue.errors import NoSuchMessage, QueueError
from mxqueue.model import PREFETCH_OCTETS
from mxqueue.prepared import Prepared, texts
from mxqueue.schema import chunk, message, recipient
from mxqueue.spool import StoredContent

T = TypeVar("T")


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
    return reading.find_all(_Rows(engine), ids)


class _Rows:
    """Implements `reading.Rows`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def with_first_chunks(self, ids: Sequence[str]) -> Sequence[reading.Row]:
        return read(self._engine, lambda connection: _PREFETCHED.one(connection, texts(connection, ids)).all())

    def bare(self, ids: Sequence[str]) -> Sequence[reading.Row]:
        return read(self._engine, lambda connection: _BARE.one(connection, texts(connection, ids)).all())

    def chunk(self, message_id: str, position: int) -> bytes | None:
        row = read(self._engine, lambda connection: _PIECE.one(connection, message_id, position).first())
        return None if row is None else row[0]


def statements(engine: Engine) -> tuple[str, str, str]:
    """What is asked for the three methods of `reading.Rows`, for who asks the driver itself."""
    return _PREFETCHED.text(engine.dialect), _BARE.text(engine.dialect), _PIECE.text(engine.dialect)
