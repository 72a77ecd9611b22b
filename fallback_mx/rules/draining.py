"""How a drain is doing, and why: the one state that is shown of it, and how long what waits will take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Phase(StrEnum):
    """What a drain is at; of several that are true, the one that stands first here."""

    PAUSED = "paused"  # by an operator
    WAITING = "waiting"  # for the primary to be up
    BEHIND = "behind"  # outcomes cannot be written down, so nothing new is begun
    PUT_OFF = "put off"  # the primary is left alone for a moment, after a failure
    IDLE = "idle"  # nothing is due
    CANARY = "canary"  # one message goes first
    AT_CAP = "at its cap"  # as many connections as the configuration allows
    SLOWED = "slowed"  # fewer, after trouble
    RAMPING = "ramping"  # a connection more for each round of deliveries

    @property
    def moves(self) -> bool:
        """Whether mail goes out."""
        return self in (Phase.CANARY, Phase.AT_CAP, Phase.SLOWED, Phase.RAMPING)


@dataclass(frozen=True, slots=True)
class Situation:
    """What the phase follows from. `trouble` is what has made the drain slower, "" for nothing."""

    may_deliver: bool
    is_behind: bool
    put_off_seconds: float
    is_draining: bool
    is_canary: bool
    allowed: int
    cap: int
    trouble: str

    @property
    def phase(self) -> Phase:
        if not self.may_deliver:
            return Phase.WAITING
        if self.is_behind:
            return Phase.BEHIND
        if self.put_off_seconds > 0:
            return Phase.PUT_OFF
        if not self.is_draining:
            return Phase.IDLE
        if self.is_canary:
            return Phase.CANARY
        if self.allowed >= self.cap:
            return Phase.AT_CAP
        return Phase.SLOWED if self.trouble else Phase.RAMPING

    @property
    def reason(self) -> str:
        """Why it is so, in the primary's words where there are any; "" where the phase says it all."""
        return self.trouble if self.phase in (Phase.PUT_OFF, Phase.CANARY, Phase.SLOWED) else ""


@dataclass(frozen=True, slots=True)
class DrainStatus:
    """A drain at this moment.

    `delivered` and `attempted` count recipients since the start of the process, `messages_per_second` is what the last
    minute of this drain came to. `put_off_seconds` is how long the primary is still left alone after a failure.
    """

    phase: Phase
    reason: str
    is_draining: bool
    connections: int
    allowed_connections: int
    max_connections: int
    in_hand: int
    delivered: int
    attempted: int
    messages_per_second: float
    last_failure: str
    put_off_seconds: float

    def time_left(self, messages: int) -> timedelta | None:
        """How long so many messages take at this rate; None where nothing moves."""
        if not self.phase.moves or self.messages_per_second <= 0:
            return None
        seconds = messages / self.messages_per_second
        # Longer than anybody waits is no forecast.
        return timedelta(seconds=seconds) if seconds < 10 * 365 * 86400 else None
