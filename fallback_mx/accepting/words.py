"""What the service and its accepting processes say to each other. Frozen values; they travel as pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import PickleBuffer
from typing import Any

from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import Verdict
from fallback_mx.smtp.doors import Note
from fallback_mx.smtp.etrn import Callers, Pending
from fallback_mx.smtp.terms import ListenerSettings


@dataclass(frozen=True, slots=True)
class Setup:
    """To an accepting process, at its start and at every reload. `listener` comes without its TLS context."""

    listener: ListenerSettings
    tls_certificate: Path | None
    tls_key: Path | None
    min_free_space: int
    log_level: str
    log_as_json: bool


@dataclass(frozen=True, slots=True)
class States:
    """To an accepting process: how the primaries are, by name, which clients may ask for their mail, and the largest
    message that each takes."""

    of: Mapping[str, State]
    callers: Callers
    size_limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Leave:
    """To an accepting process: stop in order, within this time."""

    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Ready:
    """From an accepting process: it takes connections."""


@dataclass(frozen=True, slots=True)
class Tally:
    """From an accepting process: what has been counted since the last one. `let_in` is by primary and reason."""

    opened: int = 0
    closed: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)  # by reason
    proxied: Mapping[str, int] = field(default_factory=dict)  # by primary
    proxy_failed: Mapping[str, int] = field(default_factory=dict)
    let_in: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by primary and reason


@dataclass(frozen=True, slots=True)
class Doubted:
    """From an accepting process: this primary seemed to fail while mail was played through to it."""

    primary: str


@dataclass(frozen=True, slots=True)
class Asked:
    """From an accepting process: the client at this address has asked for the mail of these primaries (ETRN)."""

    number: int
    primaries: tuple[str, ...]
    client_address: str


@dataclass(frozen=True, slots=True)
class Told:
    """To an accepting process: what waits for those it asked about, None where that cannot be said now."""

    number: int
    pending: Pending | None


@dataclass(frozen=True, slots=True)
class Question:
    """From an accepting process: what is known of this recipient. Where no sender `waits` the primary may be asked
    after the answer."""

    number: int
    primary: str
    forward_path: str
    waits: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """To an accepting process: the answer to a Question, None where nobody can say now."""

    number: int
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Refusing:
    """To an accepting process: the primaries some of whose recipients are known to be bad."""

    primaries: frozenset[str]


@dataclass(frozen=True, slots=True)
class Noted:
    """From an accepting process, and by the service to all others: who was sent away and may come back."""

    notes: Sequence[Note]


# A message is the most frequent frame by far and therefore a bare tuple, and so are its envelopes: a type costs more to
# carry than all it is the type of. The octets leave in a PickleBuffer and arrive as bytes. From an accepting process:
# (number, envelopes, size, SHA-256, octets or None where a descriptor comes with it).
# To it, many together: [(number, error or None), ...].
Message = tuple[int, Sequence[tuple[Any, ...]], int, bytes, bytes | PickleBuffer | None]
Answers = list[tuple[int, Exception | None]]
