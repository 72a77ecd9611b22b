"""The way through to one primary, for the sessions whose transactions are played through to it.

A connection is to be ready within a few seconds, since a sender is waiting; one that is not says nothing about the
primary, which may be one that greets slowly on purpose. Anything else that fails here, and every success, is an
observation for whoever watches the primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.rules.health import Observation
from fallback_mx.smtp.dial import DialSettings, open_first
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.through import Through

READY_SECONDS = 5.0


class Crowded(Exception):
    """So many connections lead to the primary already as it may be given."""


class Passage:
    """Opens connections, at most `max_connections` at once, and tells what is seen of the primary."""

    def __init__(
        self,
        next_hops: Callable[[], Awaitable[Sequence[NextHop]]],
        dial: DialSettings,
        *,
        max_connections: int,
        observe: Callable[[Observation], None],
        clock: Callable[[], datetime],
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        self._next_hops = next_hops
        self._dial = dial
        self._max_connections = max_connections
        self._observe = observe
        self._clock = clock
        self._ready_seconds = ready_seconds
        self._open: set[Through] = set()
        self._opening = 0

    async def open(self) -> Through:
        """A connection that is ready for MAIL. Raises NoConnection or Crowded."""
        self._open = {through for through in self._open if through.is_usable}
        if len(self._open) + self._opening >= self._max_connections:
            raise Crowded
        self._opening += 1
        try:
            through = await self._connect()
        finally:
            self._opening -= 1
        self._open.add(through)
        return through

    async def _connect(self) -> Through:
        loop = asyncio.get_running_loop()
        at, started = self._clock(), loop.time()
        try:
            async with asyncio.timeout(self._ready_seconds):
                through = Through(*await open_first(await self._next_hops(), self._dial))
        except TimeoutError:
            raise NoConnection("connect", f"not ready within {self._ready_seconds:g} s") from None
        except NoConnection as failure:
            # Trouble with the way to the primary (DNS) is no observation of the primary.
            if failure.phase != "route":
                self._observe(Observation(False, at, failure.phase, failure.detail, loop.time() - started))
            raise
        self._observe(Observation(True, at, "ehlo", through.host, loop.time() - started))
        return through

    def failed(self, detail: str) -> None:
        """The primary failed within a transaction, and not for anything that the sender did."""
        self._observe(Observation(False, self._clock(), "transaction", detail))
