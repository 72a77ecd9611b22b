"""What senders, primary and service wrote down in one run. Times are seconds of the one clock of the machine.

A message of a sender is its number; a *try* is one time that it was sent, and has a reverse-path of its own, so that
whatever arrives can be traced to it. A *copy* is one recipient of one transaction that the primary took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Try:
    """By a sender. `dotted_at` is when the final dot began to leave, None where the content never left whole; `reply`
    is what it was answered, "" where the session ended without; `queue_id` is named in a 250 of ours, "" in one of the
    primary's that was handed on."""

    sender: int
    number: int
    attempt: int
    forward_paths: tuple[str, ...]
    digest: str
    dotted_at: float | None = None
    reply: str = ""
    queue_id: str = ""

    @property
    def reverse_path(self) -> str:
        return f"{self.sender}.{self.number}.{self.attempt}@sender.test"

    @property
    def is_answered(self) -> bool:
        return self.reply.startswith("250")

    @property
    def is_lost(self) -> bool:
        """All of it left, and no answer came: the service may have it."""
        return self.dotted_at is not None and not self.reply


@dataclass(frozen=True, slots=True)
class Copy:
    """By the primary: it took this at the final dot. `said` is whether it wrote its 250. `queue_id` is that of the
    trace line, `digest` that of the content below it."""

    at: float
    connection: int
    reverse_path: str
    forward_path: str
    queue_id: str
    digest: str
    said: bool = True


@dataclass(frozen=True, slots=True)
class Opening:
    """By the primary: this connection was made. It cannot outlive the service that made it."""

    at: float
    connection: int


@dataclass(frozen=True, slots=True)
class Offer:
    """By the primary: MAIL came for this reverse-path, whatever became of it."""

    at: float
    reverse_path: str


@dataclass(frozen=True, slots=True)
class Cut:
    """By the primary: from here on it neither read from nor wrote to this connection."""

    at: float
    connection: int


@dataclass(frozen=True, slots=True)
class Entry:
    """By the service: a row of its ledger, `event` by name."""

    at: float
    queue_id: str
    forward_path: str
    event: str


@dataclass(frozen=True, slots=True)
class History:
    """`kills` are the moments at which the service was killed; `waiting` is what is in its queue at the end, as queue
    id and forward-path; `connections` is how many the primary may be given."""

    tries: Sequence[Try] = ()
    copies: Sequence[Copy] = ()
    openings: Sequence[Opening] = ()
    offers: Sequence[Offer] = ()
    cuts: Sequence[Cut] = ()
    kills: Sequence[float] = ()
    ledger: Sequence[Entry] = ()
    waiting: frozenset[tuple[str, str]] = frozenset()
    connections: int = 1
