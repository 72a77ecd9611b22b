"""From a drain to the log and the counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from fallback_mx import maillog
from fallback_mx.redelivery import Taken
from fallback_mx.web.metrics import Metrics
from mxqueue import Enclosed, Message, QueueError, Recipient, RecipientState
from mxqueue.model import utc_now


class Lessons(Protocol):
    """Who learns of recipients from deliveries."""

    def delivered(self, primary: str, forward_path: str) -> None: ...
    def refused(self, primary: str, forward_path: str, reply: str) -> None: ...


class NoLessons:
    """Where there is nothing to learn."""

    def delivered(self, primary: str, forward_path: str) -> None: ...
    def refused(self, primary: str, forward_path: str, reply: str) -> None: ...


class Outbound:
    """What the drain of one primary tells."""

    def __init__(
        self,
        primary: str,
        next_hop: str,
        metrics: Metrics,
        lessons: Lessons,
        on_report: Callable[[str], None],
        on_delivered: Callable[[int], None] = lambda recipients: None,
    ) -> None:
        """`on_delivered` hears how many recipients the primary has taken more."""
        self._primary = primary
        self._next_hop = next_hop
        self._metrics = metrics
        self._lessons = lessons
        self._on_report = on_report
        self._on_delivered = on_delivered
        self._tls_error: str | None = None

    def delivered(self, taken: Sequence[Taken]) -> None:
        self._metrics.delivered(self._primary, len(taken))
        self._on_delivered(len(taken))
        for forward_path in {recipient.forward_path for _, recipient, _ in taken}:
            self._lessons.delivered(self._primary, forward_path)
        now = utc_now()
        with maillog.together():
            for message, recipient, reply in taken:
                maillog.delivered(
                    message.id,
                    primary=self._primary,
                    forward_path=recipient.forward_path,
                    reply=reply,
                    attempts=recipient.attempts + 1,
                    age_seconds=round((now - message.arrived_at).total_seconds(), 3),
                )

    def deferred(
        self,
        message: Message,
        recipient: Recipient,
        reply: str,
        *,
        not_before: datetime,
        ambiguous: bool,
        suspect: bool,
    ) -> None:
        self._metrics.deferred(self._primary)
        maillog.deferred(
            message.id,
            primary=self._primary,
            forward_path=recipient.forward_path,
            reply=reply,
            attempts=recipient.attempts + 1,
            not_before=not_before,
        )

    def held(self, message: Message, recipient: Recipient, reason: str) -> None:
        self._lessons.refused(self._primary, recipient.forward_path, reason)
        maillog.held(message.id, primary=self._primary, forward_path=recipient.forward_path, reply=reason)

    def failed(self, message: Message, recipient: Recipient, reply: str) -> None:
        self._lessons.refused(self._primary, recipient.forward_path, reply)
        maillog.failed(message.id, primary=self._primary, forward_path=recipient.forward_path, reply=reply)

    def reported(self, message: Message, report: Enclosed) -> None:
        to = report.envelope.forward_paths[0]
        maillog.reported(message.id, report_id=report.envelope.id, route=report.envelope.route, forward_path=to)
        self._on_report(report.envelope.route)

    def expired(self, recipients: int, state: RecipientState) -> None:
        maillog.expired(self._primary, recipients=recipients, action=state.value)

    def settlement_refused(self, message_id: str, position: int) -> None:
        maillog.settlement_refused(message_id, primary=self._primary, position=position)

    def connected(self, host: str, tls: str | None, tls_error: str | None) -> None:
        # A server whose TLS is broken is spoken to in clear, on record; not once a connection, once a change.
        if tls_error and tls_error != self._tls_error:
            maillog.trouble(
                f"tls to {host}", tls_error, "Mail to it goes in clear; mend its TLS, or set tls = require."
            )
        self._tls_error = tls_error

    def connection_failed(self, phase: str, detail: str) -> None:
        maillog.connection_failed(self._primary, next_hop=self._next_hop, phase=phase, detail=detail)

    def drain_started(self) -> None:
        maillog.drain_started(self._primary)

    def drain_ended(self, delivered: int, seconds: float) -> None:
        maillog.drain_ended(self._primary, delivered=delivered, seconds=round(seconds, 3))

    def trouble(self, error: QueueError) -> None:
        maillog.trouble("drain", str(error), error.advice)

    def crashed(self, error: BaseException) -> None:
        maillog.crashed(f"drain of {self._primary}", error)
