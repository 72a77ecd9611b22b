"""What can go wrong in the queue, as data: what happened, and what the operator can do about it.

None of these texts is for a sender. The listener answers QueueFull with 452 4.3.1 and everything else with
451 4.3.0 (RFC 3463, section 3.4).
"""

from __future__ import annotations

READ_ONLY_ADVICE = "Find out why (dmesg), repair the file system, mount it for writing; mail is taken again at once."


class QueueError(Exception):
    """The queue could not do what it was asked. `advice` tells the operator what to do."""

    advice = "Look at the service's log for the cause."

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        if advice is not None:
            self.advice = advice


class QueueFull(QueueError):
    """The disk, or the database's share of it, has no room for another commit."""

    advice = "Free space on the queue's file system; nothing that was accepted is affected."


class QueueUnavailable(QueueError):
    """The database does not answer, or somebody else holds its lock."""

    advice = "Check that the database runs and that storage.url is right."


class NotPermitted(QueueUnavailable):
    """This user may not use the queue's files."""

    advice = "Run this as the service's user."


class StorageFailed(QueueError):
    """The disk reported an error for a write. What it still holds of that write is not known (fsync semantics)."""

    advice = "Check the disk (dmesg, smartctl), then restart the service: it recovers to the last commit."


class AlreadyServed(QueueError):
    """Another service holds this queue."""

    advice = "Stop the other service, or give this one a storage.url of its own."


class UnsafeSQLite(QueueError):
    """This SQLite can lose commits when two connections write and checkpoint (sqlite.org/wal.html, WAL-reset)."""

    advice = "Install pysqlite3 0.6.1 or newer (pip install 'pysqlite3>=0.6.1') in the service's environment."


class NoQueue(QueueError):
    """There is no queue where the configuration points."""

    advice = "Start the service once, or run `fallback-mx db migrate`, to create it."


class SchemaTooNew(QueueError):
    """The database was written by a newer version of this program."""

    advice = "Install the newer version again, or restore the backup made before its migration."


class SchemaTooOld(QueueError):
    """The database wants a migration."""

    advice = "Run `fallback-mx db backup` if you have not, then `fallback-mx db migrate`."


class NoSuchMessage(QueueError):
    """No message has this queue id."""

    advice = "List what is there with `fallback-mx queue list`."


class Damaged(QueueError):
    """The stored content is not, or cannot be shown to be, what was accepted."""

    advice = "The message is held. Look at the disk, and at it with `fallback-mx queue cat --damaged`."
