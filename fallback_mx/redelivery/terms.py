"""What a drain is told, and what it tells: settings, events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from fallback_mx.rules.backoff import Backoff
from fallback_mx.rules.bouncing import GivenUp
from fallback_mx.rules.disposition import OnRefusal, RefusalPolicy
from fallback_mx.rules.dsn import Failure
from mxqueue.errors import QueueError
from mxqueue.model import Enclosed, Message, Recipient, RecipientState

CONNECTION_BACKOFF = Backoff(timedelta(seconds=1), longest=timedelta(minutes=1), lifetime=None)
CANARY_BACKOFF = Backoff(timedelta(seconds=1), longest=timedelta(seconds=5), lifetime=None)


class OnExpiry(StrEnum):
    """What becomes of mail that could not be delivered within its lifetime."""

    HOLD = "hold"
    BOUNCE = "bounce"
    DISCARD = "discard"

    @property
    def state(self) -> RecipientState:
        """What its recipients become where nobody has to be told."""
        return RecipientState.EXPIRED if self is OnExpiry.DISCARD else RecipientState.HELD


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """How one primary is drained.

    `batch` messages are claimed at a time, for `lease`; a lease is extended while its message is in hand. A next hop
    that takes `slow_seconds` over a message shows strain. An idle connection is kept for `linger_seconds`. At a stop,
    messages on the wire have `grace_seconds` to finish. `connection_backoff` is for a primary that gives no connection,
    `canary_backoff` for one that serves no canary: it may just have been one full mailbox, and the mail behind it must
    not wait long. Delivered content is kept for `retain_delivered`.
    """

    max_connections: int = 5
    lifetime: timedelta = timedelta(days=30)
    on_expiry: OnExpiry = OnExpiry.HOLD
    on_refusal: OnRefusal = OnRefusal.HOLD
    recovery_guard: timedelta = timedelta(minutes=15)
    retain_delivered: timedelta = timedelta(0)
    first_wait: timedelta = timedelta(minutes=1)
    longest_wait: timedelta = timedelta(hours=1)
    batch: int = 250
    lease: timedelta = timedelta(minutes=2)
    slow_seconds: float = 30.0
    linger_seconds: float = 0.5
    grace_seconds: float = 20.0
    connection_backoff: Backoff = CONNECTION_BACKOFF
    canary_backoff: Backoff = CANARY_BACKOFF

    @property
    def backoff(self) -> Backoff:
        return Backoff(self.first_wait, longest=self.longest_wait, lifetime=self.lifetime)

    @property
    def refusals(self) -> RefusalPolicy:
        return RefusalPolicy(self.on_refusal, self.recovery_guard)

    @property
    def bounces(self) -> bool:
        """Whether senders may have to be told of mail that is given up."""
        return self.on_refusal is OnRefusal.BOUNCE or self.on_expiry is OnExpiry.BOUNCE


class Reporter(Protocol):
    """Decides whether the sender of mail that is given up is told, and writes the report; see bounces/reporter.py."""

    async def give_up(
        self, message: Message, failures: Mapping[int, Failure], chunks: Callable[[], AsyncIterator[bytes]]
    ) -> GivenUp: ...


class Taken(NamedTuple):
    """A recipient that the next hop has taken the message for, with its reply."""

    message: Message
    recipient: Recipient
    reply: str


class DrainEvents(Protocol):
    """Told once the thing is on record. A recipient is as it was when it was claimed: `attempts` leave this one out.

    Deliveries are told together, as many as went on record at once: there are many of them in a second.
    """

    def delivered(self, taken: Sequence[Taken]) -> None: ...

    def deferred(
        self,
        message: Message,
        recipient: Recipient,
        reply: str,
        *,
        not_before: datetime,
        ambiguous: bool,
        suspect: bool,
    ) -> None: ...

    def held(self, message: Message, recipient: Recipient, reason: str) -> None: ...

    def failed(self, message: Message, recipient: Recipient, reply: str) -> None: ...

    def reported(self, message: Message, report: Enclosed) -> None: ...

    def expired(self, recipients: int, state: RecipientState) -> None: ...

    def settlement_refused(self, message_id: str, position: int) -> None: ...

    def connected(self, host: str, tls: str | None, tls_error: str | None) -> None: ...

    def connection_failed(self, phase: str, detail: str) -> None: ...

    def drain_started(self) -> None: ...

    def drain_ended(self, delivered: int, seconds: float) -> None: ...

    def trouble(self, error: QueueError) -> None: ...

    def crashed(self, error: Exception) -> None: ...
