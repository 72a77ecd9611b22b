"""The values of the queue: what goes in, what comes out, what may happen to it.

Everything here is frozen and free of I/O. Times are aware datetimes in UTC, sizes are octets, and the null
reverse-path is the empty string (RFC 5321, section 4.5.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


class RecipientState(StrEnum):
    """What became of one recipient of one message. Being worked on is a lease, not a state."""

    PENDING = "pending"
    HELD = "held"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    REMOVED = "removed"

    @property
    def is_live(self) -> bool:
        """Whether mail for this recipient is still ours to look after."""
        return self in LIVE_STATES


LIVE_STATES = frozenset({RecipientState.PENDING, RecipientState.HELD})


class LedgerEvent(StrEnum):
    """What a ledger row records. The ledger is append-only and outlives the message."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    EXPIRED = "expired"
    HELD = "held"
    RELEASED = "released"
    REMOVED = "removed"
    RETRIED = "retried"
    AMBIGUOUS = "ambiguous"  # the next hop may have taken it, but its reply never reached us
    REFUSED = "refused"  # a settlement came with a token that was no longer the lease's
    KEPT = "kept"  # delivered, and the content is kept until the moment in the detail
    REDELIVERED = "redelivered"  # delivered before, and to be delivered again
    FORGOTTEN = "forgotten"  # the content that was kept is no longer
    EXPORTED = "exported"
    IMPORTED = "imported"  # this message came from a file; the detail says what it was called there
    CONTINUED = "continued"  # stands under the id that a message had before it was imported: it goes on as another


class Content(Protocol):
    """Message content on its way into the queue: opaque octets after dot-unstuffing."""

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> bytes: ...

    def chunks(self) -> Iterator[bytes]:
        """The octets from the start, in pieces of at most `CHUNK_SIZE`. May be called again for a retry."""
        ...


CHUNK_SIZE = 1024 * 1024
# What a whole batch of claims may bring into memory with it; the rest is read when it is sent.
PREFETCH_OCTETS = 128 * 1024


class ReportRequest(NamedTuple):
    """What the sender wants to be told about one recipient (RFC 3461), as it was put; empty where nothing was said.

    `notify` is NEVER, or some of SUCCESS, FAILURE and DELAY with commas between. `orcpt` is the address that the mail
    was first sent to: a type, a semicolon and the address, encoded. Some senders give one for every recipient, so this
    is a tuple, which is quick to make and to hand to another process.
    """

    notify: str = ""
    orcpt: str = ""


class Envelope(NamedTuple):
    """One RFC 5321 transaction for one route, as it was accepted. A tuple, since one is made for every message, and
    goes from process to process: a frozen dataclass takes four times as long to make and ten times to carry.

    `trace` is the Received line that goes before the content when it is sent on, CRLF included.
    `body` is the BODY parameter of RFC 6152: "7BIT" or "8BITMIME". `id` is a queue id got beforehand from
    `Queue.new_id`, where the trace names it; left empty, the queue chooses one.

    `ret` ("FULL", "HDRS" or empty) and `envid` are of RFC 3461. `report_requests` stand in the order of
    `forward_paths`; there are none at all where nothing was asked for any of them.

    `ambiguous` says why the next hop may have the message already, though it never said so; empty where it has not.
    """

    reverse_path: str
    forward_paths: tuple[str, ...]
    route: str
    client_address: str = ""
    helo: str = ""
    trace: bytes = b""
    body: str = "7BIT"
    smtputf8: bool = False
    id: str = ""
    ret: str = ""
    envid: str = ""
    report_requests: tuple[ReportRequest, ...] = ()
    ambiguous: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path of one message and all that is known of its delivery.

    `notify` and `orcpt` are those of its ReportRequest. Its lifetime counts from `waits_since`: its arrival, or the
    moment when it was to be delivered once more.
    """

    message_id: str
    position: int
    forward_path: str
    state: RecipientState
    attempts: int
    not_before: datetime
    last_reply: str
    lease_owner: str | None = None
    lease_until: datetime | None = None
    notify: str = ""
    orcpt: str = ""
    waits_since: datetime | None = None
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A queued message without its content. `content_size` leaves the trace line out.

    `keep_until`: delivered as it may be, its content is there until then.
    """

    id: str
    arrived_at: datetime
    reverse_path: str
    route: str
    size: int
    client_address: str
    helo: str
    trace: bytes
    body: str
    smtputf8: bool
    node: str
    recipients: tuple[Recipient, ...]
    ret: str = ""
    envid: str = ""
    keep_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A message leased to one worker: `message.recipients` are only those that the lease covers.

    `token` fences the lease. Once the lease has run out and somebody else has claimed the recipients, or an
    operator has taken them away, a settlement that carries it is refused.
    """

    message: Message
    token: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt, or one decision, made of one recipient.

    `state` PENDING means deferred and wants `not_before`. `ambiguous` marks an attempt whose final reply was
    lost: the next hop may have the message. `counts` is False where no attempt reached the next hop, so that
    a refused connection does not age the message. `keep_until` goes with DELIVERED: the content is kept until then.
    """

    state: RecipientState
    reply: str
    not_before: datetime | None = None
    ambiguous: bool = False
    counts: bool = True
    keep_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A message of our own, to be accepted together with what it tells of. `about` is for the ledger."""

    envelope: Envelope
    content: Content
    about: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcomes of one claim, recipient by recipient (keyed by position). Those left out stay leased.

    With a `report` it is all or nothing: the report is in the queue if every outcome counts, and none counts if one of
    the leases is no longer the claim's.
    """

    claim: Claim
    outcomes: dict[int, Outcome]
    report: Enclosed | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody who holds no lease decides about recipients of one message that nobody is delivering.

    Each becomes what its outcome says, on record with the outcome's reply; its last reply stays the next hop's.
    """

    message_id: str
    outcomes: dict[int, Outcome]
    report: Enclosed | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages a listing or an edit means. Every field narrows; the empty filter means all that is live.

    `ids` are queue ids. `states` are those of recipients; an edit touches only recipients in them. `larger_than` is in
    octets of content. `reply` is a part of the last reply, whatever its capitals, or a code: "550", "5xx".
    """

    ids: tuple[str, ...] = ()
    route: str | None = None
    domain: str | None = None
    sender: str | None = None
    recipient: str | None = None
    states: frozenset[RecipientState] = LIVE_STATES
    arrived_before: datetime | None = None
    arrived_after: datetime | None = None
    larger_than: int | None = None
    reply: str | None = None
    delivered_before: datetime | None = None
    delivered_after: datetime | None = None

    @property
    def of_message(self) -> bool:
        """Whether it asks for what stands with the message, and not with its recipients."""
        return self.sender is not None or self.larger_than is not None

    @property
    def of_recipients(self) -> Filter:
        """What is left of it once messages have been found by what never changes of them."""
        return replace(self, ids=(), sender=None, larger_than=None)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where mail that is imported comes from.

    `key` has at most 26 characters and is the same at every import of that message: its queue id, where it was in a
    queue like this. `name` is for people. `held` are the forward-paths of recipients that were held there.
    """

    key: str
    name: str
    held: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Edit:
    """What an operator's edit did. `busy` messages were being delivered at that moment and were left alone."""

    changed: tuple[str, ...]
    busy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerRow:
    at: datetime
    message_id: str
    position: int
    forward_path: str
    event: LedgerEvent
    detail: str
    actor: str
    node: str


@dataclass(frozen=True, slots=True)
class RouteCount:
    """What one route has in the queue: messages and recipients in one live state, and the oldest arrival."""

    route: str
    state: RecipientState
    messages: int
    recipients: int
    oldest_arrived_at: datetime | None
