"""When a deferred recipient is tried again, and when it has been tried long enough.

The wait doubles from attempt to attempt up to a ceiling, and is spread by chance so that what failed together does not
come back together. The last attempt falls on the end of the lifetime. (RFC 5321, section 4.5.4.1.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Backoff:
    """The first wait, its growth, its ceiling, and the age at which mail expires (None: never)."""

    first: timedelta = timedelta(minutes=1)
    factor: float = 2.0
    longest: timedelta = timedelta(hours=1)
    lifetime: timedelta | None = timedelta(days=30)


def wait(attempts: int, age: timedelta, jitter: float, backoff: Backoff) -> timedelta | None:
    """How long to wait after this many attempts, None once expired.

    `age` is the time since arrival (negative where a clock was set back), `jitter` a number in [0, 1).
    """
    left = None if backoff.lifetime is None else backoff.lifetime - age
    if left is not None and left <= timedelta():
        return None
    # Beyond 64 doublings the ceiling has long been reached, and a float would overflow.
    seconds = backoff.first.total_seconds() * backoff.factor ** min(max(attempts - 1, 0), 64)
    seconds = min(seconds, backoff.longest.total_seconds())
    delay = timedelta(seconds=seconds * (1 - SPREAD + 2 * SPREAD * jitter))
    return delay if left is None else min(delay, left)
