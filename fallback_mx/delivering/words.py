"""What the service and a courier process say to each other, beside what its drains do (redelivery/words.py)."""

from __future__ import annotations

from dataclasses import dataclass

from fallback_mx.smtp.dial import DialSettings
from fallback_mx.smtp.route import NextHop
from mxqueue.reading import ReaderSettings


@dataclass(frozen=True, slots=True)
class Setup:
    """To a courier process, at its start."""

    reader: ReaderSettings
    log_level: str
    log_as_json: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """From a courier process: it can read contents."""


@dataclass(frozen=True, slots=True)
class Leave:
    """To a courier process: end."""


@dataclass(frozen=True, slots=True)
class Over:
    """To a courier process: the drain of this number wants nothing more of it."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a connection leads, and on which terms."""

    hops: tuple[NextHop, ...]
    dial: DialSettings


# A frame of a drain, either way: its number, and what it or its couriers say.
Frame = tuple[int, object]
