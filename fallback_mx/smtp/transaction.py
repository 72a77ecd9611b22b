"""What a session gathers before it can commit: the envelope (RFC 5321, section 3.3) and the content.

Content goes to a spool. Where that fails (a full disk) the error is kept, and the rest is read to its end and dropped,
so that the sender can be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fallback_mx.rules import trace
from mxqueue import Spool

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Route

HEAD_OCTETS = 64 * 1024


@dataclass(slots=True)
class Transaction:
    """A mail transaction under way (RFC 5321, section 3.3)."""

    reverse_path: str
    body: str
    recipients: dict[str, Route] = field(default_factory=dict)


class Endless(Exception):
    """The client goes on far beyond the largest message we take."""


class Intake:
    """Where the octets of one message go: the spool, and beside it what must be known before the commit."""

    def __init__(self, spool: Spool, limit: int) -> None:
        self.spool = spool
        self.failed: OSError | None = None
        self.octets = 0
        self._limit = limit
        self._head = bytearray()

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        if self.failed is not None or self.too_large:
            return
        if len(self._head) < HEAD_OCTETS:
            self._head += data[: HEAD_OCTETS - len(self._head)]
        try:
            self.spool.write(data)
        except OSError as error:
            self.failed = error

    @property
    def too_large(self) -> bool:
        return self.octets > self._limit

    @property
    def hops(self) -> int:
        return trace.hops(bytes(self._head))
