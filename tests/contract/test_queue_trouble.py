"""When the storage fails: what is told, what still holds, and that it goes on by itself where it may.

FAULTS 4 (disk full), 9 (locked) and the latch of 3, on SQLite; test_queue_server.py has what a server may do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from mxqueue import BytesContent, Filter, Queue, QueueError, QueueFull, QueueUnavailable, StorageFailed
from mxqueue.sqlite import BUSY_TIMEOUT_SECONDS
from tests.fakes.mail import accept, content, envelope

HOLD_LOCK = """
import sys
from mxqueue.sqlite import sqlite_module
connection = sqlite_module().connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
"""


@contextmanager
def locked(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the database's write lock, until its standard input is closed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD_LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        yield other
        other.communicate()


@pytest.fixture
def file_queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue.open(f"sqlite:///{tmp_path}/queue.db", node="mx2", exclusive=True)
    yield queue
    queue.close()


def test_a_write_waits_for_another_process_that_holds_the_lock(file_queue: Queue) -> None:
    assert file_queue.path is not None
    with locked(file_queue.path) as other:
        waiting = file_queue.accept([envelope()], BytesContent(b"x"))
        assert not waiting.done()
        other.communicate()

    assert waiting.result()
    assert file_queue.trouble is None


def test_a_lock_that_is_held_too_long_makes_the_queue_unavailable_until_it_is_free(file_queue: Queue) -> None:
    assert file_queue.path is not None
    kept = accept(file_queue)
    with locked(file_queue.path):
        refused = file_queue.accept([envelope()], BytesContent(b"x"))
        with pytest.raises(QueueUnavailable, match="locked"):
            refused.result(timeout=BUSY_TIMEOUT_SECONDS * 6)
        assert isinstance(file_queue.trouble, QueueUnavailable)
        assert [each.id for each in file_queue.list().result()] == [kept], "reading goes on"

    accept(file_queue)
    assert file_queue.trouble is None


# The disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine lets root mount nothing: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that takes what is free on the disk but for `leave` octets."""
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))
    return ballast


def accept_until_refused(queue: Queue, octets: bytes) -> tuple[list[str], QueueError]:
    accepted = []
    while True:
        try:
            accepted.append(accept(queue, content=octets))
        except QueueError as error:
            return accepted, error


def is_intact(queue: Queue) -> bool:
    return queue.read(lambda connection: connection.scalar(text("PRAGMA integrity_check"))).result() == "ok"


def test_a_full_disk_refuses_more_mail_keeps_what_there_is_and_recovers_by_itself(small_disk: Path) -> None:
    queue = Queue.open(f"sqlite:///{small_disk}/queue.db", node="mx2", exclusive=True)
    ballast = fill(small_disk, leave=3_000_000)
    octets = os.urandom(100_000)

    accepted, refused = accept_until_refused(queue, octets)

    assert isinstance(refused, QueueFull)
    assert isinstance(queue.trouble, QueueFull)
    assert accepted
    assert [each.id for each in queue.list().result()] == accepted
    assert is_intact(queue)
    ballast.unlink()
    accepted.append(accept(queue, content=octets))
    assert queue.trouble is None
    queue.close()

    queue = Queue.open(f"sqlite:///{small_disk}/queue.db", node="mx2", exclusive=True)
    assert is_intact(queue)
    assert [content(queue, queue_id) == octets for queue_id in accepted] == [True] * len(accepted)
    queue.close()


FRAME_OCTETS = 4096 + 24  # a page and its header in SQLite's log
FRAMES_OF_FIRST_INDEX = 4062  # what the first 32 KiB of the log's index point to (sqlite.org/walformat.html, 2.3)


def test_a_disk_that_fills_up_where_the_logs_index_must_grow_is_full_and_not_broken(small_disk: Path) -> None:
    queue = Queue.open(f"sqlite:///{small_disk}/queue.db", node="mx2", exclusive=True)
    with reader_in_the_way(queue):
        refused = fill_up_at_the_end_of_the_index(queue, small_disk)

        assert isinstance(refused, QueueFull)
        assert accept(queue)
        assert is_intact(queue)
    queue.close()


@contextmanager
def reader_in_the_way(queue: Queue) -> Iterator[None]:
    """A reader whose snapshot keeps the log from beginning anew."""
    reads, done = threading.Event(), threading.Event()

    def look(connection: Connection) -> None:
        connection.execute(text("SELECT * FROM message")).all()
        reads.set()
        done.wait()

    reading = queue.read(look)
    reads.wait()
    try:
        yield
    finally:
        done.set()
        reading.result()


def fill_up_at_the_end_of_the_index(queue: Queue, small_disk: Path) -> QueueError:
    log = small_disk / "queue.db-wal"
    while (frames := log.stat().st_size // FRAME_OCTETS) < FRAMES_OF_FIRST_INDEX - 100:
        accept(queue, content=bytes(90_000))
    fill(small_disk, leave=(FRAMES_OF_FIRST_INDEX - frames + 3) * FRAME_OCTETS + 28_000)

    _, refused = accept_until_refused(queue, bytes(3000))
    (small_disk / "ballast").unlink()
    return refused


def fail_like_a_broken_disk(connection: Connection) -> None:
    raise OperationalError("COMMIT", {}, Exception("disk I/O error"))


def test_after_a_disk_error_nothing_is_written_until_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    queue = Queue.open(url, node="mx2", exclusive=True)
    kept = accept(queue)
    assert isinstance(queue.writer.submit(fail_like_a_broken_disk).exception(), StorageFailed)

    for _ in range(2):
        with pytest.raises(StorageFailed, match="disk I/O error") as refused:
            accept(queue)
        assert "restart" in refused.value.advice
    assert isinstance(queue.trouble, StorageFailed)
    assert isinstance(queue.ping().exception(), StorageFailed)
    assert [each.id for each in queue.list().result()] == [kept]
    queue.close()

    queue = Queue.open(url, node="mx2", exclusive=True)
    assert accept(queue)
    queue.close()


def test_a_ping_commits_something_and_leaves_nothing(file_queue: Queue) -> None:
    accept(file_queue)

    def version(connection: Connection) -> int:
        connection.rollback()
        return int(connection.scalar(text("PRAGMA data_version")) or 0)

    def look(connection: Connection) -> tuple[int, int]:
        before = version(connection)
        file_queue.ping().result()
        return before, version(connection)

    before, after = file_queue.read(look).result()

    assert before != after
    assert file_queue.read(lambda connection: connection.scalar(text("SELECT count(*) FROM ledger"))).result() == 1


def test_returned_pages_make_the_file_smaller(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    queue = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)
    accept(queue, content=bytes(4_000_000))
    queue.remove(Filter(), "op", "spam").result()
    queue.close()
    grown = path.stat().st_size

    queue = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)
    queue.housekeep().result()
    queue.close()

    assert (grown > 4_000_000, path.stat().st_size < 500_000) == (True, True)
