"""What a database says of its trouble, in words, and which of the queue's errors that is."""

from __future__ import annotations

from mxqueue.errors import Damaged, QueueError, QueueFull, StorageFailed

DATABASE_DAMAGED = "Check the disk (dmesg, smartctl), then restore the database from a backup."
_FULL = ("database or disk is full", "no space left", "disk full", "could not extend file")
_IO = ("disk i/o error", "input/output error")
_DAMAGE = ("malformed", "not a database", "invalid page in block", "missing chunk number")


def first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def told_by(text: str) -> QueueError | None:
    """The error that these words tell of; None where they tell nothing."""
    line, lowered = first_line(text), text.lower()
    if any(phrase in lowered for phrase in _FULL):
        return QueueFull(line)
    if any(phrase in lowered for phrase in _IO):
        return StorageFailed(line)
    if any(phrase in lowered for phrase in _DAMAGE):
        return Damaged(line, DATABASE_DAMAGED)
    return None
