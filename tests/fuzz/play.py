"""Plays a script to a session and gives an account of what came of it.

What must hold whatever the script is, and can be seen without understanding a word of it, is checked here: nothing
raises, nothing is stuck, nothing grows without bound, and nothing is left over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from fallback_mx.smtp.session import Session
from fallback_mx.smtp.wire import INPUT_LIMIT
from tests.fuzz.far_end import Loop, Wire
from tests.fuzz.primary import Kept, Primary
from tests.fuzz.script import HANDSHAKES, RESULTS, Event, Op, Pause, Script, Setting
from tests.fuzz.stage import DELAY_SECONDS, PATIENCE, Commits, Committed, Events, WatchedListener

# After this long without anything from the client everything of its is gone.
LONGEST_SECONDS = PATIENCE.command_seconds + 70.0
# Longer than any primary can keep a session waiting.
PRIMARY_SECONDS = 1_000
READ_AT_ONCE = 256 * 1024  # as asyncio does


@dataclass(frozen=True, slots=True)
class Account:
    """What the client was told, and what was handed to the queue."""

    said: bytes
    committed: tuple[Committed, ...]
    kept: tuple[Kept, ...] = ()  # by the primary that mail is played through to


class Broken(AssertionError):
    """Something does not hold that must."""


def play(script: Script, *, is_patient: bool = False) -> Account:
    """A patient client waits for every reply before it goes. Raises whatever came out of the session, or Broken."""
    loop = the_loop()
    loop.failures.clear()
    try:
        return loop.run_until_complete(_play(loop, script, is_patient))
    except BaseException:
        # What is left in it must not be taken for what the next play leaves.
        _loops.remove(loop)
        raise


async def _play(loop: Loop, script: Script, is_patient: bool) -> Account:
    return await _Play(loop, script).run(is_patient)


_loops: list[Loop] = []


def the_loop() -> Loop:
    """One for all plays: making one costs more than a play."""
    if not _loops:
        _loops.append(Loop())
    return _loops[0]


class _Play:
    def __init__(self, loop: Loop, script: Script) -> None:
        self._loop = loop
        self._script = script
        self._commits = Commits(script.results)
        self._events = Events()
        self._primary = Primary(script.acts)
        self._listener = WatchedListener(script.settings, self._commits, self._events, self._primary)
        self._session = Session(self._listener)
        self._wire = Wire(loop, self._session)
        self._stop: asyncio.Task[None] | None = None

    async def run(self, is_patient: bool) -> Account:
        self._is_patient = is_patient
        self._session.connection_made(self._wire.near)
        if is_patient and Setting.PROXY not in self._script.settings:
            await asyncio.sleep(DELAY_SECONDS + 1.0 if Setting.DELAYED in self._script.settings else 0.0)
        for event in self._script.events:
            await self._happen(event)
            self._check_bounds()
        if is_patient:
            await self._wait_for_replies()
        if Op.LOST not in self._script.events and Op.SILENCE not in self._script.events:
            self._wire.end()
        await self._settle()
        await self._finish()
        self._check_leftovers()
        return Account(bytes(self._wire.said), tuple(self._commits.handed_over), tuple(self._primary.kept))

    async def _happen(self, event: Event) -> None:
        wire = self._wire
        if isinstance(event, bytes):
            for start in range(0, len(event), READ_AT_ONCE):
                wire.arrive(event[start : start + READ_AT_ONCE])
        elif event is Op.CUT:
            return
        elif isinstance(event, Pause):
            await asyncio.sleep(event.seconds)
        elif event in RESULTS:
            self._commits.due += 1
        elif event in HANDSHAKES:
            await self._wait_for_handshake()
            wire.shake_hands() if event is Op.SHAKEN else wire.fail_handshake()
        elif event is Op.CHOKE:
            wire.choke()
        elif event is Op.BREATHE:
            wire.breathe()
        elif event is Op.STOP and self._stop is None:
            self._stop = self._loop.create_task(self._listener.stop(5.0))
        elif event is Op.LOST:
            wire.lose()
        await self._turn()

    async def _turn(self) -> None:
        """What has come is handed on, what has been committed is answered, and the loop goes round if it must."""
        is_quiet = self._wire.deliver() and self._wire.near.is_reading
        if self._commits.answer() or not is_quiet:
            await asyncio.sleep(0)

    async def _wait_for_handshake(self) -> None:
        # A client that has said STARTTLS waits for the reply: what it sent before that has been read by then.
        if self._is_patient:
            await self._wait_for_replies()
        else:
            await self._settle()

    async def _wait_for_replies(self) -> None:
        """Until the session has nothing more to say to what it was sent, also where it waits for the primary."""
        await self._settle()
        for _ in range(PRIMARY_SECONDS):
            if not self._session._is_waiting or self._wire.is_handshaking or self._wire.near.is_closing():
                break
            await asyncio.sleep(1.0)
            await self._settle()

    async def _settle(self) -> None:
        """Until nothing happens any more, but for the passing of time."""
        moved = True
        while moved:
            moved = self._wire.deliver()
            moved = self._commits.answer(now=True) or moved
            await self._loop.quiet()
            moved = moved or self._wire.is_wanted

    async def _finish(self) -> None:
        if self._wire.is_stuck and not self._wire.is_choked and not self._wire.is_handshaking:
            raise Broken("the session reads no more, and nothing is there that it could wait for")
        await asyncio.sleep(LONGEST_SECONDS)
        await self._settle()
        if self._stop is None:
            self._stop = self._loop.create_task(self._listener.stop(5.0))
        await asyncio.sleep(10.0)
        if not self._stop.done():
            raise Broken("the listener does not stop")
        await self._stop

    def _check_bounds(self) -> None:
        held = len(self._session._input) + _pending(self._session)
        if held > INPUT_LIMIT + READ_AT_ONCE + 8:
            raise Broken(f"{held} octets are held")

    def _check_leftovers(self) -> None:
        for failure in self._loop.failures:
            raise Broken("an exception came out of a callback") from failure
        for part, error in self._events.troubles:
            if part == "session":
                raise Broken("the session got into trouble") from error
        for what in self._leftovers():
            raise Broken(f"left over: {what}")

    def _leftovers(self) -> Iterator[str]:
        listener = self._listener
        if listener.sessions:
            yield "the session"
        if self._events.opened != self._events.closed:
            yield f"{self._events.opened} sessions opened, {self._events.closed} closed"
        if listener.crowd.total:
            yield "the client in the crowd"
        if not all(spool.is_closed for spool in listener.spools):
            yield "a spool"
        if listener.content_memory.used:
            yield f"{listener.content_memory.used} octets of memory"
        if self._commits.is_waiting:
            yield "a commit"
        if not all(connection.is_closed for connection in self._primary.connections):
            yield "a connection to the primary"
        if any(task is not asyncio.current_task() and not task.done() for task in asyncio.all_tasks()):
            yield "a task"
        if self._loop.timers_left():
            yield "a timer"


def _pending(session: Session) -> int:
    return len(session._content._pending) if session._content is not None else 0
