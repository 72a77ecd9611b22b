"""Short words for what tests of the queue do over and over."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mxqueue import (
    BytesContent,
    Claim,
    Envelope,
    LedgerEvent,
    Message,
    Outcome,
    Queue,
    Recipient,
    RecipientState,
    Settlement,
)

LETTER = b"Subject: a letter\r\n\r\nIt says little.\r\n"


def envelope(*forward_paths: str, **fields: Any) -> Envelope:
    given: dict[str, Any] = {"reverse_path": "a@sender.test", "route": "main", **fields}
    return Envelope(forward_paths=forward_paths or ("u@example.test",), **given)


def accept(queue: Queue, *forward_paths: str, content: bytes = LETTER, **fields: Any) -> str:
    """One message; its queue id."""
    (queue_id,) = queue.accept([envelope(*forward_paths, **fields)], BytesContent(content)).result()
    return queue_id


def content(queue: Queue, queue_id: str) -> bytes:
    return b"".join(queue.content(queue_id).result().chunks())


def claim_one(queue: Queue, route: str = "main") -> Claim:
    """The next claim, which must be there."""
    (claim,) = queue.claim(route, "worker", limit=1).result()
    return claim


def positions(claim: Claim) -> list[int]:
    return [each.position for each in claim.message.recipients]


def settle(queue: Queue, claim: Claim, outcome: Outcome, *at: int) -> list[tuple[str, int]]:
    """The same outcome for these positions of the claim, or for all of them. What was refused."""
    wanted = at or positions(claim)
    return queue.settle([Settlement(claim, dict.fromkeys(wanted, outcome))]).result()


DELIVERED = Outcome(RecipientState.DELIVERED, "250 2.0.0 taken")
FAILED = Outcome(RecipientState.FAILED, "550 5.1.1 nobody here")
HELD = Outcome(RecipientState.HELD, "550 5.7.1 suspect")


def deferred(until: datetime, **fields: Any) -> Outcome:
    return Outcome(RecipientState.PENDING, "451 4.7.1 later", not_before=until, **fields)


def message(queue: Queue, queue_id: str) -> Message:
    return queue.show(queue_id).result()[0]


def recipient(queue: Queue, queue_id: str, position: int = 0) -> Recipient:
    return message(queue, queue_id).recipients[position]


def states(queue: Queue, queue_id: str) -> list[RecipientState]:
    return [each.state for each in message(queue, queue_id).recipients]


def events(queue: Queue, queue_id: str, position: int = 0) -> list[LedgerEvent]:
    """What the ledger says of one recipient, in order."""
    return [row.event for row in queue.show(queue_id).result()[1] if row.position == position]


def ids(claims: list[Claim]) -> list[str]:
    return [claim.message.id for claim in claims]
