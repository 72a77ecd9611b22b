"""May this recipient be taken now? Decided from the primary's state and what its owner wants while it is up."""

from __future__ import annotations

from enum import StrEnum

from fallback_mx.rules.health import State


class WhenUp(StrEnum):
    """What happens to mail that comes to us while the primary is up."""

    GUARD = "guard"  # sent to the primary: spammers go to the last MX first to get round its filters
    ACCEPT = "accept"  # taken, and delivered at once


class Verdict(StrEnum):
    TAKE = "take"
    USE_PRIMARY = "use_primary"


def admit(when_up: WhenUp, state: State) -> Verdict:
    """TAKE unless the primary is known to be up and guards its door. Not knowing is a reason to take mail."""
    if state is State.UP and when_up is WhenUp.GUARD:
        return Verdict.USE_PRIMARY
    return Verdict.TAKE
