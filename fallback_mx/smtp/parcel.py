"""What a courier is given to deliver: a message, its recipients, and a way to read its content.

Content that cannot be read is nobody's refusal: `unreadable` says whether it may be readable later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from fallback_mx.rules.disposition import Lost, Result, Unfit
from fallback_mx.smtp.dots import BareDot
from mxqueue.errors import Damaged
from mxqueue.model import Message


class Parcel(Protocol):
    """A message to deliver to its `message.recipients`. `chunks` gives the content from the start at each call.

    It may raise Damaged, or anything else where the content cannot be read just now.
    """

    @property
    def message(self) -> Message: ...

    def chunks(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """A parcel for some of its recipients: those of `message`."""

    parcel: Parcel
    message: Message

    def chunks(self) -> AsyncIterator[bytes]:
        return self.parcel.chunks()


def unreadable(error: Exception) -> Result:
    """What it means for delivery that the content could not be read."""
    if isinstance(error, Damaged | BareDot):
        return Unfit(str(error))
    return Lost(f"our own copy cannot be read now: {error}")
