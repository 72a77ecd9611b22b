"""How one primary is watched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from fallback_mx.rules.health import Damping

SHORTEST_GAP = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How a primary is watched. `ports` are the names of its other ports. With `slow_after` it is slow once every look
    for `slow_for` took longer. The first look is `first_after` late, and the second comes by `sooner` of an interval
    earlier: many primaries are not looked at all at once."""

    interval: timedelta
    rise: int
    fall: int
    ports: tuple[str, ...] = ()
    slow_after: timedelta | None = None
    slow_for: timedelta = timedelta(minutes=5)
    first_after: timedelta = timedelta(0)
    sooner: float = 0.0

    @property
    def max_gap(self) -> timedelta:
        """From the end of one look to the beginning of the next: after a longer silence the time between is unknown."""
        return max(3 * self.interval, SHORTEST_GAP)

    @property
    def damping(self) -> Damping:
        return Damping(self.rise, self.fall)

    @property
    def slow_damping(self) -> Damping:
        """As many looks as come in `slow_for`."""
        looks = max(1, math.ceil(self.slow_for / self.interval))
        return Damping(looks, looks)
