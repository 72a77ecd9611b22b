"""What a session gathers before it can commit: the envelope (RFC 5321, section 3.3) and the content.

Content goes to a spool. Where that fails (a full disk) the error is kept, and the rest is read to its end and dropped,
so that the sender can be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from fallback_mx.rules import trace
from fallback_mx.rules.admission import Verdict
from mxqueue import Spool

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Route

HEAD_OCTETS = 64 * 1024


class Way(Enum):
    """Where a recipient's mail goes: two ways in one transaction would have two replies to one end of data."""

    QUEUE = auto()
    PLAY_THROUGH = auto()
    SEPARATELY = auto()  # in another transaction


@dataclass(slots=True)
class Transaction:
    """A mail transaction under way (RFC 5321, section 3.3)."""

    reverse_path: str
    body: str
    size: int = 0  # as announced, 0 where it was not
    recipients: dict[str, Route] = field(default_factory=dict)
    played: str = ""  # the primary it is played through to, if it is
    fallen: str = ""  # the primary that failed while it was
    is_shown_out: bool = False  # and that had refused something on that connection before

    def way(self, route: Route, verdict: Verdict) -> Way:
        """Which way a recipient goes. What was begun one way ends so, for every recipient that was taken."""
        if not self.recipients:
            is_wanted = verdict is Verdict.PLAY_THROUGH and route.name != self.fallen
            return Way.PLAY_THROUGH if is_wanted else Way.QUEUE
        if self.played:
            return Way.PLAY_THROUGH if route.name == self.played else Way.SEPARATELY
        is_queued = route.name == self.fallen or any(route.name == each.name for each in self.recipients.values())
        return Way.SEPARATELY if verdict is Verdict.PLAY_THROUGH and not is_queued else Way.QUEUE


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
