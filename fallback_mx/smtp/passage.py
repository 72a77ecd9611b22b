"""The way through to one primary, for the sessions whose transactions are played through to it.

A connection is to be ready within a few seconds, since a sender is waiting; one that is not says nothing about the
primary, which may be one that greets slowly on purpose. Anything else that fails here, and every success, is an
observation for whoever watches the primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.rules.health import Observation
from fallback_mx.smtp.through import Through

if TYPE_CHECKING:
    from fallback_mx.smtp.dial import DialSettings
    from fallback_mx.smtp.route import Destination, Route

READY_SECONDS = 5.0

Observe = Callable[[str, Observation], None]
"""Hears what was seen of the primary of this name."""


class Crowded(Exception):
    """So many connections lead to the primary already as it may be given."""


@dataclass(frozen=True, slots=True)
class PassageSettings:
    """How the primary is reached."""

    dial: DialSettings
    destination: Destination
    max_connections: int = 5
    ready_seconds: float = READY_SECONDS


class Passage:
    """Opens connections, at most `max_connections` at once, and tells what is seen of the primary."""

    def __init__(
        self, settings: PassageSettings, observe: Callable[[Observation], None], clock: Callable[[], datetime]
    ) -> None:
        self.settings = settings
        self._observe = observe
        self._clock = clock
        self._route: Route | None = None
        self._open: set[Through] = set()
        self._opening = 0

    async def open(self) -> Through:
        """A connection that is ready for MAIL. Raises NoConnection or Crowded."""
        self._open = {through for through in self._open if through.is_usable}
        if len(self._open) + self._opening >= self.settings.max_connections:
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
            async with asyncio.timeout(self.settings.ready_seconds):
                through = await self._dial()
        except TimeoutError:
            raise NoConnection("connect", f"not ready within {self.settings.ready_seconds:g} s") from None
        except NoConnection as failure:
            # Trouble with the way to the primary (DNS), or of our own, is no observation of the primary.
            if not failure.is_ours:
                self._observe(Observation(False, at, failure.phase, failure.detail, loop.time() - started))
            raise
        self._observe(Observation(True, at, "ehlo", through.host, loop.time() - started))
        return through

    async def _dial(self) -> Through:
        # Imported by who plays mail through, and not by every process that takes mail in: DNS is a third of its size.
        from fallback_mx.smtp.dial import open_first

        self._route = self._route or self.settings.destination.route()
        return Through(*await open_first(await self._route.next_hops(), self.settings.dial))

    def failed(self, detail: str) -> None:
        """The primary failed within a transaction, and not for anything that the sender did."""
        self._observe(Observation(False, self._clock(), "transaction", detail))


class Passages:
    """The ways through to every primary that there is one to."""

    def __init__(self, observe: Observe, clock: Callable[[], datetime]) -> None:
        self._observe = observe
        self._clock = clock
        self._of: dict[str, Passage] = {}

    def configure(self, settings: Mapping[str, PassageSettings]) -> None:
        """Take these, by the primary's name; what stays the same keeps count of its connections."""
        kept = {name: passage for name, passage in self._of.items() if settings.get(name) == passage.settings}
        self._of = {name: kept.get(name) or self._make(name, each) for name, each in settings.items()}

    def _make(self, name: str, settings: PassageSettings) -> Passage:
        return Passage(settings, lambda observation: self._observe(name, observation), self._clock)

    def get(self, name: str) -> Passage | None:
        return self._of.get(name)
