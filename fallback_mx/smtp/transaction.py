"""What a session gathers before it can commit: the envelope (RFC 5321, section 3.3) and the content.

Content goes to a spool. Where that fails (a full disk) the error is kept, and the rest is read to its end and dropped,
so that the sender can be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fallback_mx.smtp.content import LineLimit
from fallback_mx.smtp.header import Header
from mxqueue import Spool

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Route


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a message may be, its header, and each of its lines without its CRLF (RFC 5321, section 4.5.3.1.6)."""

    message_octets: int = 50_000_000
    header_octets: int = 256_000
    line_octets: int = 65_536


@dataclass(slots=True)
class Transaction:
    """A mail transaction under way (RFC 5321, section 3.3)."""

    reverse_path: str
    body: str
    recipients: dict[str, Route] = field(default_factory=dict)


class Endless(Exception):
    """The client goes on far beyond the largest message we take."""


class Intake:
    """Where the octets of one message go: the spool, and beside it what must be known before the commit.

    `fault` is why the message will not be taken, once that is so: "size", "header_size", "long_lines".
    """

    def __init__(self, spool: Spool, bounds: Bounds) -> None:
        self.spool = spool
        self.failed: OSError | None = None
        self.octets = 0
        self.fault = ""
        self._bounds = bounds
        self._header = Header()
        self._lines = LineLimit(bounds.line_octets)

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        if self.fault or self.failed is not None:
            return
        header = self._header
        if not header.has_ended:
            header.feed(data)
        if self.octets > self._bounds.message_octets:
            self.fault = "size"
        elif header.octets > self._bounds.header_octets:
            self.fault = "header_size"
        elif self._lines.is_broken_by(data):
            self.fault = "long_lines"
        if self.fault:
            # The rest is read to its end, and none of it is wanted any more.
            self.spool.close()
            return
        try:
            self.spool.write(data)
        except OSError as error:
            self.failed = error

    @property
    def hops(self) -> int:
        return self._header.hops
