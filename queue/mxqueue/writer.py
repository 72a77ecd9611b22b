"""The one thread that writes: group commit.

Work is queued, taken in batches, and committed as one transaction; then, and only then, its futures are resolved.
When a batch fails for what one piece of work asked, it is rolled back and tried again one piece at a time, so that
a bad row fails alone. When the storage itself fails the whole batch fails: after a disk error nothing is retried
as if it were fine, the writer refuses work until it is restarted (what fsync reported once it may not report twice),
and so it does when a checkpoint meets one. A disk that is full or read-only is another matter: what it refused to take
it has not half taken, and it is asked again with the next batch.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from mxqueue.causes import classify, may_be_repeated
from mxqueue.engine import database_path
from mxqueue.errors import READ_ONLY_ADVICE, QueueError, QueueFull, QueueUnavailable, StorageFailed
from mxqueue.sqlite import BUSY_TIMEOUT_SECONDS, sqlite_module

T = TypeVar("T")
P = TypeVar("P")

BATCH_JOBS = 500
BATCH_OCTETS = 32 * 1024 * 1024
ATTEMPTS = 3
NO_ROOM_OCTETS = 1024 * 1024
_SYNC_ERRORS = frozenset({"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"})
_READ_ERRORS = frozenset({"SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ"})

type_Bulk = Callable[[Connection, list[Any]], list[Any]]


class Outcome(Protocol):
    """Who hears what became of a piece of work: a future, as far as the writer knows it."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


class Then:
    """Calls back on the writer's thread, with what went wrong or None. A future has locks, and costs ten times that."""

    __slots__ = ("_then",)

    def __init__(self, then: Callable[[BaseException | None], None]) -> None:
        self._then = then

    def set_running_or_notify_cancel(self) -> bool:
        return True

    def set_result(self, result: Any, /) -> None:
        self._then(None)

    def set_exception(self, exception: BaseException, /) -> None:
        self._then(exception)


class _Job(NamedTuple):
    bulk: type_Bulk
    payload: Any
    octets: int
    outcome: Outcome


def _run_each(connection: Connection, ops: list[Callable[[Connection], Any]]) -> list[Any]:
    return [op(connection) for op in ops]


class Writer:
    """Commits what is submitted, in batches. Safe to call from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._path = database_path(engine.url.render_as_string(hide_password=False))
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        # Nothing may be queued behind the end mark: nobody would ever answer it.
        self._closing = threading.Lock()
        self._latched: StorageFailed | None = None
        self.trouble: QueueError | None = None
        # Kept from one transaction to the next, for as long as nothing goes wrong with it.
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="mxqueue-writer", daemon=True)
        self._thread.start()

    def submit(self, op: Callable[[Connection], T]) -> Future[T]:
        """Run `op` in the next transaction. The future resolves after the commit."""
        future: Future[T] = Future()
        self._put(_Job(_run_each, op, 0, future))
        return future

    def submit_bulk(self, bulk: Callable[[Connection, list[P]], list[T]], payload: P, octets: int = 0) -> Future[T]:
        """Like `submit`, but all payloads of a batch that name the same `bulk` are handed to it together.

        `bulk` returns one result a payload, in their order.
        """
        future: Future[T] = Future()
        self._put(_Job(bulk, payload, octets, future))
        return future

    def submit_bulk_then(
        self,
        bulk: Callable[[Connection, list[P]], list[Any]],
        payload: P,
        octets: int,
        then: Callable[[BaseException | None], None],
    ) -> None:
        """Like `submit_bulk`; `then` is called on the writer's thread, and must not raise."""
        self._put(_Job(bulk, payload, octets, Then(then)))

    def _put(self, job: _Job) -> None:
        with self._closing:
            if not self._closed:
                self._jobs.put(job)
                return
        job.outcome.set_exception(QueueUnavailable("the queue is closed"))

    def latch(self, failure: StorageFailed) -> None:
        """Refuse all work from now on: the disk has failed."""
        self._latched = self.trouble = failure

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        with self._closing:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._disconnect()

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, octets, is_last = [first], first.octets, False
            while len(batch) < BATCH_JOBS and octets < BATCH_OCTETS:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    is_last = True
                    break
                batch.append(job)
                octets += job.octets
            # A job whose caller has gone is dropped here or done wholly: from now on it cannot be cancelled.
            self._settle([job for job in batch if job.outcome.set_running_or_notify_cancel()])
            if is_last:
                return

    def _settle(self, batch: list[_Job]) -> None:
        if not batch:
            return
        if self._latched is not None:
            _fail(batch, self._latched)
            return
        try:
            results = self._commit(batch)
        except Exception as error:
            failure = _judge(error, self._path)
            if failure is not error:
                failure.__cause__ = error
            if isinstance(failure, StorageFailed):
                self.latch(failure)
            elif isinstance(failure, QueueFull | QueueUnavailable):
                self.trouble = failure
            elif len(batch) > 1:
                for job in batch:
                    self._settle([job])
                return
            _fail(batch, failure)
            return
        # A checkpoint may have met a disk error meanwhile: that stands.
        self.trouble = self._latched
        for job, result in zip(batch, results, strict=True):
            job.outcome.set_result(result)

    def _commit(self, batch: list[_Job]) -> list[Any]:
        """One transaction. What another transaction or a lost connection spoilt before the commit is done again;
        after it nobody knows whether it happened, and a settlement must not be made twice."""
        connection = self._connection
        if connection is None:
            connection = self._connection = self._engine.connect()
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    results = _apply(connection, batch)
                    break
                except DBAPIError as error:
                    connection.rollback()
                    if attempt == ATTEMPTS or not may_be_repeated(error):
                        raise
            connection.commit()
        except BaseException:
            self._disconnect()
            raise
        return results

    def _disconnect(self) -> None:
        """Let go of the connection, with whatever is not committed on it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _apply(connection: Connection, batch: list[_Job]) -> list[Any]:
    groups: dict[type_Bulk, list[int]] = {}
    for index, job in enumerate(batch):
        groups.setdefault(job.bulk, []).append(index)
    results: list[Any] = [None] * len(batch)
    for bulk, indexes in groups.items():
        answers = bulk(connection, [batch[index].payload for index in indexes])
        for index, answer in zip(indexes, answers, strict=True):
            results[index] = answer
    return results


def _judge(error: Exception, path: Path | None) -> QueueError:
    """What a failed transaction on the database at `path` comes to.

    SQLite says "disk I/O error" too where the disk is full and the index of its log (-shm) cannot grow, and where the
    disk is read-only. A sync that failed is never one of these, whatever else is true of the disk.
    """
    failure = classify(error)
    if path is None or not isinstance(failure, StorageFailed) or _sqlite_name(error) in _SYNC_ERRORS:
        return failure
    if shutil.disk_usage(path.parent).free < NO_ROOM_OCTETS:
        return QueueFull(str(failure))
    if _is_read_only(path.parent):
        return QueueUnavailable(f"{path.parent} is read-only", READ_ONLY_ADVICE)
    return failure


def _sqlite_name(error: Exception) -> str:
    return getattr(getattr(error, "orig", error), "sqlite_errorname", "")


def _is_read_only(directory: Path) -> bool:
    """Whether nothing can be written there. What the mount says is not asked: after an error the kernel may refuse
    writes on what is still mounted for writing."""
    try:
        with tempfile.TemporaryFile(dir=directory):
            return False
    except OSError as error:
        return error.errno == errno.EROFS


def _fail(batch: list[_Job], failure: QueueError) -> None:
    """Each caller gets an exception of its own: one that is raised in many threads gathers all their tracebacks."""
    for job in batch:
        own = type(failure)(str(failure), failure.advice)
        own.__cause__ = failure
        job.outcome.set_exception(own)


class Checkpointer:
    """Moves SQLite's write-ahead log into the database, off the path of a commit.

    A passive checkpoint never waits, but under steady load it never catches up either: past `restart_octets` one
    that briefly holds writers back lets the log begin anew. A disk error is told to `on_failure`.
    """

    def __init__(
        self,
        path: Path,
        on_failure: Callable[[StorageFailed], None],
        passive_octets: int = 8 << 20,
        restart_octets: int = 256 << 20,
    ) -> None:
        self._on_failure = on_failure
        self._wal = path.with_name(path.name + "-wal")
        self._path = path
        self._passive_octets = passive_octets
        self._restart_octets = restart_octets
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mxqueue-checkpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        module = sqlite_module()
        connection = module.connect(self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        done_at_octets = 0
        while not self._stop.wait(0.5):
            try:
                octets = self._wal.stat().st_size
            except OSError:
                continue
            if octets < self._passive_octets or octets == done_at_octets:
                continue
            mode = "RESTART" if octets > self._restart_octets else "PASSIVE"
            try:
                connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
                done_at_octets = octets
            except module.Error as error:
                # Busy, full or unreadable: the log keeps everything until the next round.
                failure = _judge(error, self._path)
                if isinstance(failure, StorageFailed) and _sqlite_name(error) not in _READ_ERRORS:
                    self._on_failure(failure)
                    break
        connection.close()
