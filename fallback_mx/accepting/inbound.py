"""From the listener to the log and the counters, in whichever process it runs."""

from __future__ import annotations

import time
from typing import Protocol

from fallback_mx import maillog
from mxqueue import QueueError

QUIET_SECONDS = 10.0


class Counters(Protocol):
    """Where it is counted."""

    def refused(self, reason: str) -> None: ...
    def session_opened(self) -> None: ...
    def session_closed(self) -> None: ...


class Inbound:
    """What the listener tells."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._said: dict[tuple[str, str], float] = {}
        self.session_opened = counters.session_opened
        self.session_closed = counters.session_closed

    def refused(self, client_address: str, domain: str, reason: str, reply: str) -> None:
        self._counters.refused(reason)
        maillog.refused(
            reason, client_address=client_address, reply=reply, forward_path=f"@{domain}" if domain else None
        )

    def session_limit(self, client_address: str, limit: str) -> None:
        self._counters.refused(limit)
        maillog.session_limit(client_address, limit)

    def trouble(self, part: str, error: BaseException) -> None:
        """Said once in a while: a full disk would otherwise fill what is left of it with lines about itself."""
        key = (part, type(error).__name__)
        now = time.monotonic()
        if now - self._said.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        self._said[key] = now
        if isinstance(error, QueueError | OSError):
            maillog.trouble(part, str(error), getattr(error, "advice", ""))
        else:
            maillog.crashed(part, error)
