"""Queue ids: ULIDs, which sort by the time they were made and are never used again.

Millisecond and 80 random bits; within one millisecond one process counts upward. Two processes may make ids in the
same millisecond in any order, but not the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from ulid import ULID, ULIDGenerator

from mxqueue.schema import EPOCH

_MILLISECOND = timedelta(milliseconds=1)
_RANDOM_OCTETS = 10


class Ids:
    """Makes ids by this clock. Safe to call from any thread."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._generator = ULIDGenerator(clock=lambda: _milliseconds(clock()))

    def new(self) -> str:
        return str(self._generator.generate())


def ids_before(moment: datetime) -> str:
    """An id that sorts behind every id made before this moment, and ahead of those made a millisecond later."""
    made = _milliseconds(moment + _MILLISECOND)
    return str(ULID.from_bytes(made.to_bytes(6, "big") + bytes(_RANDOM_OCTETS)))


def _milliseconds(moment: datetime) -> int:
    return max(0, (moment - EPOCH) // _MILLISECOND)
