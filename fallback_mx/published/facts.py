"""The facts of the status page: frozen values that hold nothing but what whoever asks may know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from fallback_mx.published.samples import Sample
from fallback_mx.rules.health import State
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.parts import Parts

DAYS = 90


class Mark(StrEnum):
    """What a day is to be remembered for: of what was the case, the first of these."""

    DOWN = "down"
    UNKNOWN = "unknown"
    MAINTENANCE = "maintenance"
    EXCLUDED = "excluded"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Day:
    """A day of UTC, and how long it was what; today only as far as it has come."""

    day: date
    parts: Parts

    @property
    def mark(self) -> Mark:
        parts = self.parts
        if parts.down:
            return Mark.DOWN
        if parts.unknown:
            return Mark.UNKNOWN
        if parts.maintenance:
            return Mark.MAINTENANCE
        if parts.excluded:
            return Mark.EXCLUDED
        return Mark.UP if parts.up else Mark.UNKNOWN


@dataclass(frozen=True, slots=True)
class Uptime:
    """A month's uptime so far, as measured, against what was promised; percentages are exact.

    `lowest` is what it is if all unknown time was down. `counted` is the downtime that counts, `allowed` how much of it
    breaks nothing.
    """

    month: str
    agreement: str
    target: Fraction
    percent: Fraction
    lowest: Fraction
    counted: timedelta
    allowed: timedelta
    is_broken: bool

    @property
    def is_open(self) -> bool:
        """Whether what nobody saw decides if the promise was kept."""
        return not self.is_broken and self.lowest < self.target


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A maintenance window that is on, or comes next, what for, and since when it is known of."""

    interval: Interval
    why: str
    known_since: datetime
    is_on: bool


@dataclass(frozen=True, slots=True)
class Drain:
    """How the delivery of what waits goes: `done` of `total` messages since the queue was last empty."""

    words: str
    done: int
    total: int
    messages_per_second: float
    time_left: timedelta | None


@dataclass(frozen=True, slots=True)
class Outage:
    """A confirmed outage. `ended_at` is None while it goes on; `key` is its own for ever."""

    key: str
    primary: str
    started_at: datetime
    ended_at: datetime | None
    cause: str

    def length(self, now: datetime) -> timedelta:
        return max(timedelta(0), (self.ended_at or now) - self.started_at)


@dataclass(frozen=True, slots=True)
class Primary:
    """One primary. `since` is None where nobody ever watched; `oldest_age` is None while nothing waits."""

    title: str
    state: State
    since: datetime | None
    cause: str
    waiting: int
    held: int
    oldest_age: timedelta | None
    drain: Drain | None
    days: tuple[Day, ...]
    uptime: Uptime | None
    maintenance: tuple[Maintenance, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything as of one moment. `outages` begin with the latest; `samples` are a day of slots, the last of which
    goes on, None where no service ran. `customer` is whose page it is, "" for everybody's."""

    as_of: datetime
    sentence: str
    primaries: tuple[Primary, ...]
    outages: tuple[Outage, ...]
    samples: tuple[tuple[datetime, Sample | None], ...]
    customer: str = ""

    @property
    def worst(self) -> State:
        order = (State.DOWN, State.RISING, State.FALLING, State.UNKNOWN, State.UP)
        return min((one.state for one in self.primaries), key=order.index, default=State.UNKNOWN)


def peak(samples: Sequence[tuple[datetime, Sample | None]]) -> tuple[datetime, Sample] | None:
    """The slot in which most waited, the first of several; None where nothing did."""
    known = [(at, sample) for at, sample in samples if sample is not None and sample.messages]
    return max(known, key=lambda each: each[1].messages, default=None)
