"""Content as it lies in the queue: found by queue id, each message by itself.

A chunk that is missing, altered or unreadable is the trouble of its own message: it is raised as `Damaged` when that
message's content is read, and the others of the same call are as good as ever.

`Reader` does nothing else, for processes that send mail and need nothing of the queue but its contents: it reads an
SQLite file by its driver alone, since SQLAlchemy is half of such a process. The statements are SQLAlchemy's, made where
it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mxqueue.errors import Damaged, NoSuchMessage, QueueError, QueueUnavailable
from mxqueue.phrases import first_line, told_by
from mxqueue.spool import StoredContent
from mxqueue.sqlite import BUSY_TIMEOUT_SECONDS, sqlite_module

T = TypeVar("T")

Row = Sequence[Any]
"""Queue id, size, SHA-256, and the first chunk where the content is small."""


class Rows(Protocol):
    """What the database has. Each may raise QueueError."""

    def with_first_chunks(self, ids: Sequence[str]) -> Sequence[Row]: ...
    def bare(self, ids: Sequence[str]) -> Sequence[Row]: ...
    def chunk(self, message_id: str, position: int) -> bytes | None: ...


def find_all(rows: Rows, ids: Sequence[str]) -> dict[str, StoredContent]:
    """The contents of several messages. Raises NoSuchMessage if one of the messages does not exist."""
    try:
        found = rows.with_first_chunks(ids)
    except QueueUnavailable:
        raise
    except QueueError:
        # One of them cannot be read. Which one will show when its content is asked for.
        found = rows.bare(ids)
    stored = {row[0]: StoredContent(row[0], row[1], row[2], _fetch(rows, row[0], row[3])) for row in found}
    for message_id in ids:
        if message_id not in stored:
            raise NoSuchMessage(f"{message_id}: no such message")
    return stored


def _fetch(rows: Rows, message_id: str, octets: bytes | None) -> Callable[[int], bytes | None]:
    """Reads a chunk; the first is here already where there are `octets`."""
    if octets is not None:
        return {0: octets}.get

    def fetch(position: int) -> bytes | None:
        try:
            return rows.chunk(message_id, position)
        except Damaged as error:
            raise Damaged(f"{message_id}: chunk {position} cannot be read: {error}") from error

    return fetch


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """How a `Reader` gets at the contents: an SQLite file and the statements, in the order of the methods of `Rows`."""

    path: str
    statements: tuple[str, str, str]


class Reader:
    """Reads in the thread that asks, one thread at a time. Raises UnsafeSQLite, QueueUnavailable."""

    def __init__(self, settings: ReaderSettings) -> None:
        self._with_first_chunks, self._bare, self._chunk = settings.statements
        self._module = sqlite_module()
        self._lock = threading.Lock()
        # It is read only, and never made by us.
        self._connection = self._tried(
            lambda: self._module.connect(
                f"file:{_quoted(settings.path)}?mode=rw",
                uri=True,
                timeout=BUSY_TIMEOUT_SECONDS,
                check_same_thread=False,
                isolation_level=None,
            )
        )
        self._rows("PRAGMA query_only=ON")

    def content(self, message_id: str) -> Future[StoredContent]:
        return _done(lambda: find_all(self, [message_id])[message_id])

    def contents(self, message_ids: Sequence[str]) -> Future[dict[str, StoredContent]]:
        return _done(lambda: find_all(self, message_ids))

    def with_first_chunks(self, ids: Sequence[str]) -> Sequence[Row]:
        return self._rows(self._with_first_chunks, json.dumps(list(ids)))

    def bare(self, ids: Sequence[str]) -> Sequence[Row]:
        return self._rows(self._bare, json.dumps(list(ids)))

    def chunk(self, message_id: str, position: int) -> bytes | None:
        found = self._rows(self._chunk, message_id, position)
        return found[0][0] if found else None

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _rows(self, statement: str, *values: object) -> list[Row]:
        with self._lock:
            return self._tried(lambda: list(self._connection.execute(statement, values)))

    def _tried(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except self._module.Error as error:
            text = str(error).strip()
            raise told_by(text) or QueueUnavailable(first_line(text) or type(error).__name__) from error


def _quoted(path: str) -> str:
    """As SQLite wants it in a URI (sqlite.org/uri.html)."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _done(do: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    try:
        future.set_result(do())
    except QueueError as error:
        future.set_exception(error)
    return future
