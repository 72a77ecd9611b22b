"""From the listener to the log, the counters and the drains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fallback_mx import maillog
from fallback_mx.web.metrics import Metrics
from mxqueue import Envelope, QueueError

QUIET_SECONDS = 10.0


class Inbound:
    """What the listener tells. `accepted_for(name)` hears of mail for a primary, so that it may go at once."""

    def __init__(self, metrics: Metrics, accepted_for: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._accepted_for = accepted_for
        self._said: dict[tuple[str, str], float] = {}

    def accepted(self, queue_ids: Sequence[str], envelopes: Sequence[Envelope], size: int) -> None:
        for queue_id, envelope in zip(queue_ids, envelopes, strict=True):
            self._metrics.accepted(envelope.route, size)
            maillog.accepted(
                queue_id,
                primary=envelope.route,
                client_address=envelope.client_address,
                reverse_path=envelope.reverse_path,
                forward_paths=envelope.forward_paths,
                size=size,
            )
            self._accepted_for(envelope.route)

    def refused(self, client_address: str, domain: str, reason: str, reply: str) -> None:
        self._metrics.refused(reason)
        maillog.refused(
            reason, client_address=client_address, reply=reply, forward_path=f"@{domain}" if domain else None
        )

    def let_in(self, client_address: str, forward_path: str, primary: str, reason: str) -> None:
        self._metrics.let_in(primary, reason)
        maillog.let_in(reason, client_address=client_address, primary=primary, forward_path=forward_path)

    def session_limit(self, client_address: str, limit: str) -> None:
        self._metrics.refused(limit)
        maillog.session_limit(client_address, limit)

    def session_opened(self) -> None:
        self._metrics.session_opened()

    def session_closed(self) -> None:
        self._metrics.session_closed()

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
