"""May this recipient be taken now? Decided from the primary's state and what its owner wants while it is up."""

from __future__ import annotations

from enum import StrEnum

from fallback_mx.rules.health import State


class WhenUp(StrEnum):
    """What happens to mail that comes to us while the primary is up."""

    GUARD = "guard"  # sent to the primary: spammers go to the last MX first to get round its filters
    PROXY = "proxy"  # played through to the primary as it comes: its replies are the sender's
    ACCEPT = "accept"  # taken, and delivered at once


class Verdict(StrEnum):
    TAKE = "take"
    USE_PRIMARY = "use_primary"
    PLAY_THROUGH = "play_through"


# Python 3.11 takes as long to find a member of an enumeration by its name as to call a function.
TAKE, USE_PRIMARY, PLAY_THROUGH = Verdict
_UP = State.UP


def admit(when_up: WhenUp, state: State) -> Verdict:
    """TAKE unless the primary is known to be up and wants its say. Not knowing is a reason to take mail."""
    return _WHILE_UP[when_up] if state is _UP else TAKE


_WHILE_UP = {
    WhenUp.GUARD: Verdict.USE_PRIMARY,
    WhenUp.PROXY: Verdict.PLAY_THROUGH,
    WhenUp.ACCEPT: Verdict.TAKE,
}
