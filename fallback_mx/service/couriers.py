"""The courier processes of this service: started when a drain has much to do, ended when none has for a while.

A relay that is idle, or delivers a message now and then, does without them. One that ends by itself takes its
connections with it and nothing else: what it had told is on record, the rest is delivered again. The drain goes on
without it, and has another one started, though not at once where they end again and again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from fallback_mx import maillog
from fallback_mx.delivering.words import Leave, Over, Ready, Setup
from fallback_mx.workers.child import Child
from mxqueue.reading import ReaderSettings

IDLE_SECONDS = 10.0
KILL_SECONDS = 5.0
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0


class Couriers:
    """So many processes, for all drains together. Made in a running event loop."""

    def __init__(self, size: int, reader: ReaderSettings) -> None:
        self._most = size
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self._courierships: list[Couriership] = []
        self._waiting: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._delay = FIRST_DELAY_SECONDS
        self._is_stopping = False

    @property
    def size(self) -> int:
        """How many there are, ready or not."""
        return len(self._courierships)

    @property
    def places(self) -> list[Couriership]:
        return [each for each in self._courierships if each.is_ready]

    def want(self, then: Callable[[], None]) -> None:
        """Have them started where they are not there; `then` is called when one has become ready."""
        self._rest()
        if self._is_stopping or self._loop.time() < self._not_before:
            return
        for _ in range(self._most - len(self._courierships)):
            one = Couriership(self._on_ready, self._rest)
            self._courierships.append(one)
            task = self._loop.create_task(self._keep(one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if len(self.places) < self._most and then not in self._waiting:
            self._waiting.append(then)

    async def _keep(self, one: Couriership) -> None:
        """From its start to its end."""
        level, as_json = maillog.form()
        try:
            status = await one.live(Setup(self._reader, level, as_json))
        except OSError as error:
            self._complain(f"cannot be started: {error}")
        else:
            if not one.is_leaving:
                self._complain(f"ended with status {status}")
            elif one.has_been_ready:
                self._delay = FIRST_DELAY_SECONDS
        self._courierships.remove(one)

    def _complain(self, what: str) -> None:
        maillog.trouble("courier process", what, "Its mail is delivered all the same, some of it perhaps twice.")
        self._not_before = self._loop.time() + self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)

    def _on_ready(self) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def _rest(self) -> None:
        """Once nobody has wanted one for a while they leave."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(IDLE_SECONDS, self._leave)

    def _leave(self) -> None:
        if any(each.is_used for each in self._courierships):
            self._rest()
            return
        for each in self._courierships:
            each.leave()

    async def stop(self) -> None:
        """When no drain needs them any more."""
        self._is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for each in self._courierships:
            each.leave()
        if self._tasks:
            await asyncio.wait(self._tasks)


class Couriership:
    """One process, and the drains that it carries mail for."""

    def __init__(self, on_ready: Callable[[], None], on_unused: Callable[[], None]) -> None:
        self.is_ready = self.has_been_ready = self.is_leaving = False
        self._on_ready = on_ready
        self._on_unused = on_unused
        self._child: Child | None = None
        self._numbers = itertools.count()
        self._drains: dict[int, _Drain] = {}

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def is_used(self) -> bool:
        return bool(self._drains)

    async def live(self, setup: Setup) -> int:
        """Start it, and wait for its end; its status. Raises OSError."""
        try:
            self._child = await Child.start("fallback_mx.delivering", self._on_frame, self._part)
            self._child.channel.send(setup)
            if self.is_leaving:
                self._child.channel.send(Leave())
            return await self._child.wait()
        except asyncio.CancelledError:
            if self._child is not None:
                await self._child.end(0)
            raise
        finally:
            self._part()

    def leave(self) -> None:
        """Let it end, in a few seconds at most."""
        self.is_ready, self.is_leaving = False, True
        if self._child is not None:
            self._child.channel.send(Leave())
            self._ending = asyncio.get_running_loop().create_task(self._child.end(KILL_SECONDS))

    def join(self, on_frame: Callable[[Any], None], on_end: Callable[[], None]) -> _Drain:
        """What it says to this drain is told to `on_frame`, its end to `on_end`."""
        number = next(self._numbers)
        drain = self._drains[number] = _Drain(self, number, on_frame, on_end)
        return drain

    def send(self, number: int, frame: object) -> None:
        if self._child is not None:
            self._child.channel.send((number, frame))

    def part_with(self, number: int) -> None:
        if self._drains.pop(number, None) is not None:
            self.send(number, Over())
            self._on_unused()

    def _on_frame(self, frame: Any, _: int | None) -> None:
        if isinstance(frame, Ready):
            self.is_ready = self.has_been_ready = not self.is_leaving
            self._on_ready()
        elif (drain := self._drains.get(frame[0])) is not None:
            drain.on_frame(frame[1])

    def _part(self) -> None:
        """It is gone: nothing more comes from it."""
        self.is_ready = False
        if self._child is not None:
            self._child.channel.close()
        drains, self._drains = self._drains, {}
        for drain in drains.values():
            drain.on_end()


class _Drain:
    """One drain, as a process knows it."""

    def __init__(
        self, place: Couriership, number: int, on_frame: Callable[[Any], None], on_end: Callable[[], None]
    ) -> None:
        self.on_frame = on_frame
        self.on_end = on_end
        self._place = place
        self._number = number

    def send(self, frame: object) -> None:
        self._place.send(self._number, frame)

    def leave(self) -> None:
        self._place.part_with(self._number)


def couriers_size(workers: int) -> int:
    """How many processes there may be beside a service with so many accepting processes; 0 is none."""
    # The service, which claims, settles and tells, is the busier of the two: a second one would wait for it. And mail
    # that one process takes in the order in which it is given leaves in that order.
    return 1 if workers > 1 else 0
