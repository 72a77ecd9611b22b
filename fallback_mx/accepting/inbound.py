"""From the listener to the log and the counters, in whichever process it runs."""

from __future__ import annotations

import time
from typing import Protocol

from fallback_mx import maillog
from mxqueue import Envelope, QueueError

QUIET_SECONDS = 10.0


class Counters(Protocol):
    """Where it is counted."""

    def refused(self, reason: str) -> None: ...
    def proxied(self, primary: str) -> None: ...
    def proxy_failed(self, primary: str) -> None: ...
    def let_in(self, primary: str, reason: str) -> None: ...
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

    def proxied(self, envelope: Envelope, size: int, reply: str) -> None:
        self._counters.proxied(envelope.route)
        maillog.proxied(
            envelope.id,
            primary=envelope.route,
            client_address=envelope.client_address,
            reverse_path=envelope.reverse_path,
            forward_paths=envelope.forward_paths,
            size=size,
            reply=reply,
        )

    def proxy_failed(self, primary: str, detail: str, *, ambiguous: bool) -> None:
        self._counters.proxy_failed(primary)
        maillog.proxy_failed(primary, detail=detail, ambiguous=ambiguous)

    def let_in(self, client_address: str, forward_path: str, primary: str, reason: str) -> None:
        """A recipient was taken though its primary is up and guards its door."""
        self._counters.let_in(primary, reason)
        maillog.let_in(reason, client_address=client_address, primary=primary, forward_path=forward_path)

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
        if isinstance(error, QueueError | OSError) or hasattr(error, "advice"):
            maillog.trouble(part, str(error), getattr(error, "advice", ""))
        else:
            maillog.crashed(part, error)
