"""What watching a primary has brought, beyond whether it is up: for those who show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fallback_mx.rules.health import State


@dataclass(frozen=True, slots=True)
class PortState:
    """How one of its other ports is; UNKNOWN before the first look. `decides`: the primary is down while it is."""

    name: str
    state: State
    since: datetime | None = None
    detail: str = ""
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Watching:
    """`phases` has the seconds of each step of the last probe. `cut_off_since`: our own network is gone, not it."""

    phases: tuple[tuple[str, float], ...] = ()
    certificate_expires_at: datetime | None = None
    slow_since: datetime | None = None
    ports: tuple[PortState, ...] = ()
    cut_off_since: datetime | None = None


NOTHING = Watching()
