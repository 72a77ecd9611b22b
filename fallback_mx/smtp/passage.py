"""The ways through to one primary, for the sessions whose transactions are played through to it.

There are at most `max_connections` at once; who has one, and who loses it to whom, is for fallback_mx.rules.ways to
say. A way that was taken over is connected anew only when the connection that was on it has been closed.

A connection is to be ready within a few seconds, since a sender is waiting. Nothing that is seen here is an observation
of the primary's health, neither a failure nor a success: whoever sends could bring it about. What looks like a failure
is a reason to `look`, no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.rules.neighbours import allotment_of
from fallback_mx.rules.ways import NoWay, Stage, way_for
from fallback_mx.smtp.through import Through

if TYPE_CHECKING:
    from fallback_mx.smtp.dial import DialSettings, Line
    from fallback_mx.smtp.route import Destination, Route

READY_SECONDS = 5.0
# A session that sends its next message within this time finds its connection still there.
REST_SECONDS = 5.0
# A sender that makes no progress for so long may lose its way to another.
STALLED_SECONDS = 30.0

Look = Callable[[str], None]
"""Hears that there is reason to look at the primary of this name."""

Dial = Callable[[], Awaitable["Line"]]


class Crowded(Exception):
    """So many connections lead to the primary already as it, or this client's network, may be given."""


@dataclass(frozen=True, slots=True)
class PassageSettings:
    """How the primary is reached."""

    dial: DialSettings
    destination: Destination
    max_connections: int = 5
    ready_seconds: float = READY_SECONDS
    rest_seconds: float = REST_SECONDS
    stalled_seconds: float = STALLED_SECONDS


class Passage:
    """Gives ways. `look` hears when the primary seems to fail; `dial`, where it is given, connects in place of ours."""

    def __init__(self, settings: PassageSettings, look: Callable[[], None], dial: Dial | None = None) -> None:
        self.settings = settings
        self.look = look
        self._dial = dial or self._dial_first
        self._route: Route | None = None
        self._ways: list[Way] = []

    def enter(self, client_address: str) -> Way:
        """A way for this client, without a connection yet. Raises Crowded."""
        self._ways = [way for way in self._ways if way.is_occupied]
        network, settings = allotment_of(client_address), self.settings
        now = asyncio.get_running_loop().time()
        try:
            taken = way_for(network, self._ways, settings.max_connections, now, settings.stalled_seconds)
        except NoWay:
            raise Crowded from None
        if taken is not None:
            self._ways.remove(taken)
            taken.give_up()
        way = Way(self, network, taken)
        self._ways.append(way)
        return way

    async def connect(self) -> Through:
        """A connection that is ready for MAIL. Raises NoConnection."""
        try:
            async with asyncio.timeout(self.settings.ready_seconds):
                return Through(*await self._dial())
        except TimeoutError:
            self.look()
            raise NoConnection("connect", f"not ready within {self.settings.ready_seconds:g} s") from None
        except NoConnection:
            self.look()
            raise

    async def _dial_first(self) -> Line:
        # Imported by who plays mail through, and not by every process that takes mail in: DNS is a third of its size.
        from fallback_mx.smtp.dial import open_first

        self._route = self._route or self.settings.destination.route()
        return await open_first(await self._route.next_hops(), self.settings.dial)


class Way:
    """A place among the connections to a primary, as one session has it. `through` is the connection on it, the last
    one where that has ended. Once it `is_over` the session must enter anew."""

    def __init__(self, passage: Passage, network: str, before: Way | None) -> None:
        self.passage = passage
        self.network = network
        self.through: Through | None = None
        self.is_over = False
        self.stage = Stage.BUSY
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        self._before = before
        self._is_opening = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_occupied(self) -> bool:
        """Whether it counts: given to somebody, or not closed yet."""
        return not self.is_over or self._is_opening or (self.through is not None and self.through.is_usable)

    async def open(self) -> Through:
        """A new connection on it, in place of one that has ended. Raises NoConnection."""
        if self.through is not None:
            self.through.cut("another is opened in its place")
            self.through = None
        self._is_opening, self.stage = True, Stage.BUSY
        try:
            if self._before is not None:
                await self._before.closed()
                self._before = None
            through = await self.passage.connect()
        finally:
            self._is_opening = False
            if self.is_over:
                self.stage = Stage.LEAVING
        self.through = through
        if self.is_over:
            through.leave()
            raise NoConnection("connect", "nobody waits for it any more")
        return through

    async def closed(self) -> None:
        """Wait until the connection of a way that is over is closed."""
        if self.through is not None:
            await self.through.closed()

    # What its session is doing ------------------------------------------------------------------------------------

    def work(self) -> None:
        """Something is asked of the primary."""
        self._at(Stage.BUSY)

    def wait(self, *, has_moved: bool) -> None:
        """It is the sender's turn, within a transaction. `has_moved`: the transaction has come further."""
        self._at(Stage.WAITING)
        if has_moved:
            self.since = self._loop.time()

    def rest(self) -> None:
        """No transaction is in hand: the connection is kept for a moment."""
        if self.is_over or self.stage is Stage.RESTING:
            return
        self._at(Stage.RESTING)
        self.since = self._loop.time()
        self._timer = self._loop.call_later(self.passage.settings.rest_seconds, self.give_up)

    def give_up(self) -> None:
        """It is no longer this session's."""
        if self.is_over:
            return
        self._at(Stage.BUSY if self._is_opening else Stage.LEAVING)
        self.is_over = True
        if self.through is not None:
            self.through.leave()

    def _at(self, stage: Stage) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.is_over:
            self.stage = stage


class Passages:
    """The ways through to every primary that there is one to."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._of: dict[str, Passage] = {}

    def configure(self, settings: Mapping[str, PassageSettings]) -> None:
        """Take these, by the primary's name; what stays the same keeps count of its connections."""
        kept = {name: passage for name, passage in self._of.items() if settings.get(name) == passage.settings}
        self._of = {name: kept.get(name) or self._make(name, each) for name, each in settings.items()}

    def _make(self, name: str, settings: PassageSettings) -> Passage:
        return Passage(settings, lambda: self._look(name))

    def get(self, name: str) -> Passage | None:
        return self._of.get(name)
