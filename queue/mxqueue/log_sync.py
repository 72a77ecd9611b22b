"""What SQLite has committed, put on the disk before anybody is answered: one sync for all that came before it.

With `synchronous=NORMAL` SQLite writes a commit to its log (-wal) and goes on; when the disk has it is the kernel's
affair. So the log is synced here, by a thread of its own, and a future resolves only behind that. Nothing is less safe
for it than with FULL, whose commit is that same sync, and the next transaction is made while the disk is at work on
the last. Checkpoints still sync log and database by themselves, in their order (sqlite.org/wal.html).

A sync that fails is final, for what waits behind it too: what the kernel reported once it may not report again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from mxqueue.errors import StorageFailed

Then = Callable[[StorageFailed | None], None]
"""Called with None once the disk has it, else with what happened. Must not raise."""


class LogSync:
    """Syncs the log at this path. `on_failure` is told of the first failure, before anybody who waits for it."""

    def __init__(self, log: Path, on_failure: Callable[[StorageFailed], None]) -> None:
        self._log = log
        self._on_failure = on_failure
        self._descriptor = -1
        self._failure: StorageFailed | None = None
        self._waiting: list[Then] = []
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="mxqueue-sync", daemon=True)
        self._thread.start()

    def after(self, then: Then) -> None:
        """What has been committed until now is synced; then this is called, on another thread."""
        with self._changed:
            self._waiting.append(then)
            self._changed.notify_all()

    def keep_pace(self) -> None:
        """Returns when the disk has begun with all that was committed. More of what comes meanwhile goes together."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)

    def close(self) -> None:
        """Finish what waits, then stop. May be called twice."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                waiting, self._waiting = self._waiting, []
                self._changed.notify_all()
            if self._failure is None:
                try:
                    self._sync()
                except OSError as error:
                    self._failure = StorageFailed(f"{self._log.name} could not be synced: {error.strerror or error}")
                    self._failure.__cause__ = error
                    self._on_failure(self._failure)
            for then in waiting:
                then(self._failure)

    def _sync(self) -> None:
        found = self._log.stat()
        if self._descriptor >= 0:
            os.fdatasync(self._descriptor)
            held = os.fstat(self._descriptor)
            if (held.st_ino, held.st_dev) == (found.st_ino, found.st_dev):
                return
            # Every connection was closed in between, and with the last one the log went into the database.
            os.close(self._descriptor)
            self._descriptor = -1
        self._descriptor = os.open(self._log, os.O_RDONLY)
        os.fdatasync(self._descriptor)
        _sync_directory(self._log.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
