"""mxqueue: a durable mail queue that knows no sockets and no policy. See README.md beside this package.

`Queue` is imported when it is first asked for: a process that only makes envelopes and spools their content needs no
database library, which is half of its memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mxqueue.errors import (
    AlreadyServed,
    Damaged,
    NoQueue,
    NoSuchMessage,
    NotPermitted,
    QueueError,
    QueueFull,
    QueueUnavailable,
    SchemaTooNew,
    SchemaTooOld,
    StorageFailed,
    UnsafeSQLite,
)
from mxqueue.model import (
    LIVE_STATES,
    Claim,
    Content,
    Decision,
    Edit,
    Enclosed,
    Envelope,
    Filter,
    LedgerEvent,
    LedgerRow,
    Message,
    Origin,
    Outcome,
    Recipient,
    RecipientState,
    ReportRequest,
    RouteCount,
    Settlement,
)
from mxqueue.spool import BytesContent, FileContent, Spool, SpoolMemory, StoredContent

if TYPE_CHECKING:
    from mxqueue.store import Queue

__all__ = [
    "LIVE_STATES",
    "AlreadyServed",
    "BytesContent",
    "Claim",
    "Content",
    "Damaged",
    "Decision",
    "Edit",
    "Enclosed",
    "Envelope",
    "FileContent",
    "Filter",
    "LedgerEvent",
    "LedgerRow",
    "Message",
    "NoQueue",
    "NoSuchMessage",
    "NotPermitted",
    "Origin",
    "Outcome",
    "Queue",
    "QueueError",
    "QueueFull",
    "QueueUnavailable",
    "Recipient",
    "RecipientState",
    "ReportRequest",
    "RouteCount",
    "SchemaTooNew",
    "SchemaTooOld",
    "Settlement",
    "Spool",
    "SpoolMemory",
    "StorageFailed",
    "StoredContent",
    "UnsafeSQLite",
]


def __getattr__(name: str) -> object:
    if name != "Queue":
        raise AttributeError(name)
    from mxqueue.store import Queue

    return Queue
