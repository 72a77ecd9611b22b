"""Who may have a way through to a primary, and from whom it is taken.

There are few ways and many senders, some of whom mean to hold them. So a network has at most half of them (and one at
least), and no way is kept by a session that does nothing with it: one between two transactions loses it as soon as
somebody else wants it, the one that has rested longest first; one within a transaction when its sender has made no
progress for a while. While it is the primary that is waited for nobody loses anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol, TypeVar


class Stage(Enum):
    BUSY = auto()  # something is being done, or waited for from the primary
    WAITING = auto()  # within a transaction, for the sender
    RESTING = auto()  # between two transactions
    LEAVING = auto()  # nobody's any more, and not yet closed


class Held(Protocol):
    """A way, the network of the client that it was given to, and since when nothing has come of it (any clock)."""

    @property
    def network(self) -> str: ...
    @property
    def stage(self) -> Stage: ...
    @property
    def since(self) -> float: ...


H = TypeVar("H", bound=Held)


class NoWay(Exception):
    """All that this network may have are taken, and in use."""


def share_of(most: int) -> int:
    """How many of so many ways one network may have."""
    return max(1, most // 2)


def way_for(network: str, ways: Sequence[H], most: int, now: float, stalled_seconds: float) -> H | None:
    """Which of these ways a client of this network takes over, None where there is room for one more. Raises NoWay.

    A sender that has made no progress for `stalled_seconds` may lose its way in the middle of a transaction.
    """
    own = [way for way in ways if way.network == network and way.stage is not Stage.LEAVING]
    may_have_more = len(own) < share_of(most)
    if may_have_more and len(ways) < most:
        return None
    idle = [way for way in (ways if may_have_more else own) if _is_idle(way, now - stalled_seconds)]
    if not idle:
        raise NoWay
    return min(idle, key=lambda way: (_ORDER.index(way.stage), way.since))


_ORDER = (Stage.LEAVING, Stage.RESTING, Stage.WAITING)


def _is_idle(way: Held, stalled_since: float) -> bool:
    if way.stage is Stage.WAITING:
        return way.since < stalled_since
    return way.stage is not Stage.BUSY
