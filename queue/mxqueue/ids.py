"""Queue ids: ULIDs, which sort by the time they were made and are never used again (github.com/ulid/spec).

48 bits of milliseconds, then 80 random bits, in Crockford's base 32; within one millisecond one process counts upward.
Two processes may make ids in the same millisecond in any order, but not the same id. Made here rather than by a
library, which took a tenth of the time that accepting a message takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from mxqueue.model import EPOCH

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_PART = (1 << 50) - 1
_RANDOM_BITS = 80
_MILLISECOND = timedelta(milliseconds=1)


class Ids:
    """Makes ids by this clock. Safe to call from any thread."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0
        self._random = Random()  # noqa: S311  # an id is to be nobody else's; it need not be hard to guess

    def new(self) -> str:
        milliseconds = _milliseconds(self._clock())
        with self._lock:
            if milliseconds == self._last >> _RANDOM_BITS:
                self._last += 1
            else:
                # The upper half of the randomness is left for counting: it never runs over into the milliseconds.
                self._last = milliseconds << _RANDOM_BITS | self._random.getrandbits(_RANDOM_BITS - 1)
            value = self._last
        return _text(value)


def ids_before(moment: datetime) -> str:
    """An id that sorts behind every id made before this moment, and ahead of those made a millisecond later."""
    return _text(_milliseconds(moment + _MILLISECOND) << _RANDOM_BITS)


def _text(value: int) -> str:
    # In three parts and without a loop: this is made for every message, and large numbers are slow to shift.
    pairs = _PAIRS
    high, middle, low = value >> 100, value >> 50 & _PART, value & _PART
    return (
        f"{pairs[high >> 20]}{pairs[high >> 10 & 1023]}{pairs[high & 1023]}"
        f"{pairs[middle >> 40]}{pairs[middle >> 30 & 1023]}{pairs[middle >> 20 & 1023]}"
        f"{pairs[middle >> 10 & 1023]}{pairs[middle & 1023]}"
        f"{pairs[low >> 40]}{pairs[low >> 30 & 1023]}{pairs[low >> 20 & 1023]}"
        f"{pairs[low >> 10 & 1023]}{pairs[low & 1023]}"
    )


def _milliseconds(moment: datetime) -> int:
    return max(0, (moment - EPOCH) // _MILLISECOND)
