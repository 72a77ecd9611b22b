"""What an operator has ordered of a primary, and which of it stands.

A pause stops deliveries and nothing else. A force says how the primary is to be treated, whatever is seen of it; it
never touches the record of outages. A resume takes back what stood before it. Orders are in the order in which they
were given: of two pauses, or two forces, the later one counts. All end by themselves at their `until`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fallback_mx.rules.health import State


class What(StrEnum):
    PAUSE = "pause"
    FORCE_UP = "force up"
    FORCE_DOWN = "force down"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Order:
    """One thing that was ordered: when, by whom and why. `until` is None where it has no end of its own."""

    primary: str
    what: What
    at: datetime
    until: datetime | None
    actor: str
    reason: str

    @property
    def forced_state(self) -> State | None:
        return _FORCED.get(self.what)


_FORCED = {What.FORCE_UP: State.UP, What.FORCE_DOWN: State.DOWN}


@dataclass(frozen=True, slots=True)
class Standing:
    """The orders that a primary is under."""

    pause: Order | None = None
    force: Order | None = None

    def state(self, seen: State) -> State:
        """How the primary is to be treated, which is not what goes on record."""
        forced = None if self.force is None else self.force.forced_state
        return seen if forced is None else forced

    def may_deliver(self, seen: State) -> bool:
        return self.pause is None and self.state(seen) is State.UP


NO_ORDERS = Standing()


def standing(orders: Iterable[Order], now: datetime) -> Standing:
    """What stands of one primary's orders, in the order in which they were given."""
    pause: Order | None = None
    force: Order | None = None
    for order in orders:
        if order.what is What.RESUME:
            pause = force = None
        elif order.what is What.PAUSE:
            pause = order
        else:
            force = order
    return Standing(_unless_over(pause, now), _unless_over(force, now))


def _unless_over(order: Order | None, now: datetime) -> Order | None:
    return None if order is None or (order.until is not None and order.until <= now) else order
