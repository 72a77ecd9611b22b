"""How long a client may take, and who is cut off for taking longer (RFC 5321, section 4.5.3.2).

Between commands a client has `command_seconds`. While it brings content it has a credit of `block_seconds`, which runs
down with the clock and grows with every octet, by what an octet takes at `min_data_rate`, to no more than it was at
first. So a pause is forgiven and a slow line is too, for as long as they last, while a client that sends slower than
the rate is out of credit in the end, however often it sends.

While most connections are taken (`is_stressed`) all have `stressed_seconds` in place of either.

The clock is the event loop's. One timer looks at all connections once a second, so that a command costs an assignment;
what is due is cut off up to a second late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

SWEEP_SECONDS = 1.0
# What was said last is given this long to arrive.
LINGER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may take. A rate of 0 octets a second asks for nothing but `block_seconds` between octets."""

    command_seconds: float = 300.0  # RFC 5321, section 4.5.3.2.7
    block_seconds: float = 180.0  # section 4.5.3.2.5
    stressed_seconds: float = 10.0
    min_data_rate: int = 100


class Timed(Protocol):
    """A connection: when its time is up, by the event loop's clock, and what happens then."""

    due: float
    is_leaving: bool

    @property
    def is_in_content(self) -> bool: ...
    def overdue(self) -> None: ...


class Deadlines:
    """The connections of a process, each with the moment at which it is cut off."""

    def __init__(self, loop: asyncio.AbstractEventLoop, is_stressed: Callable[[], bool], patience: Patience) -> None:
        self._loop = loop
        self._is_stressed = is_stressed
        self._connections: set[Timed] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.configure(patience)

    def configure(self, patience: Patience) -> None:
        """What holds from the next command and the next block of content on."""
        self.command_seconds = patience.command_seconds
        self.block_seconds = patience.block_seconds
        self.seconds_per_octet = 1 / patience.min_data_rate if patience.min_data_rate else float("inf")
        self._stressed_seconds = patience.stressed_seconds

    def add(self, connection: Timed) -> None:
        self._connections.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def discard(self, connection: Timed) -> None:
        self._connections.discard(connection)

    def _sweep(self) -> None:
        if not self._connections:
            self._timer = None
            return
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        now = self._loop.time()
        if self._is_stressed():
            late = [each for each in self._connections if each.due - self._hurry(each) <= now]
        else:
            late = [each for each in self._connections if each.due <= now]
        for each in late:
            each.overdue()

    def _hurry(self, connection: Timed) -> float:
        """How much sooner than at other times this connection is cut off under stress."""
        if connection.is_leaving:
            return 0.0
        usual = self.block_seconds if connection.is_in_content else self.command_seconds
        return max(0.0, usual - self._stressed_seconds)
