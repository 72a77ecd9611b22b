"""What this process has been told of recipients, each for a second: so that a flood to one of them costs nothing.

Who knows (`Knows`) is in this process, or in the one that has the database. A sender waits five seconds for the answer
at most; what comes later is there for the next one. Questions about a recipient that is being asked about wait for the
same answer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from fallback_mx.rules.recipients import Verdict

SENDERS_SECONDS = 5.0
KEPT_SECONDS = 1.0
KEPT = 1_000
# Questions that no sender waits for: in a flood of new names the rest of them is not asked.
MOST_IDLE = 50

_Key = tuple[str, str]


class Knows(Protocol):
    """Where it is known. `verdict` is None where nobody can say now: whoever asks is to ask again later."""

    @property
    def refusing(self) -> frozenset[str]:
        """The primaries some of whose recipients are known to be bad, though nobody configured it."""
        ...

    async def verdict(self, primary: str, forward_path: str, *, waits: bool) -> Verdict | None: ...


class KnowsNothing:
    """Where nobody has been introduced."""

    refusing: frozenset[str] = frozenset()

    async def verdict(self, primary: str, forward_path: str, *, waits: bool) -> Verdict | None:
        return Verdict.UNKNOWN


class Acquaintances:
    """`clock` gives monotonic seconds."""

    def __init__(self, knows: Knows, clock: Callable[[], float], wait_seconds: float = SENDERS_SECONDS) -> None:
        self._knows = knows
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._kept: OrderedDict[_Key, tuple[Verdict | None, float]] = OrderedDict()
        self._asking: dict[_Key, asyncio.Task[Verdict | None]] = {}
        self._idle: dict[_Key, asyncio.Task[Verdict | None]] = {}

    def is_worth_asking(self, primary: str) -> bool:
        """Whether something is known of this primary's recipients, though nobody configured it."""
        return primary in self._knows.refusing

    def recall(self, primary: str, forward_path: str) -> tuple[Verdict | None] | None:
        """The verdict in a tuple, None where it has to be asked for."""
        kept = self._kept.get((primary, forward_path))
        return (kept[0],) if kept is not None and self._clock() < kept[1] else None

    async def verdict(self, primary: str, forward_path: str) -> Verdict | None:
        """What is known, UNKNOWN and None included. Raises TimeoutError; the question goes on then."""
        key = (primary, forward_path)
        task = self._asking.get(key) or self._ask(key, self._asking, waits=True)
        async with asyncio.timeout(self._wait_seconds):
            return await asyncio.shield(task)

    def wonder(self, primary: str, forward_path: str) -> None:
        """Have the primary asked, if need be, though nobody waits for the answer."""
        key = (primary, forward_path)
        if len(self._idle) < MOST_IDLE and key not in self._idle and self.recall(*key) is None:
            self._ask(key, self._idle, waits=False)

    def _ask(
        self, key: _Key, among: dict[_Key, asyncio.Task[Verdict | None]], *, waits: bool
    ) -> asyncio.Task[Verdict | None]:
        task = asyncio.get_running_loop().create_task(self._knows.verdict(*key, waits=waits))
        among[key] = task

        def done(finished: asyncio.Task[Verdict | None]) -> None:
            among.pop(key, None)
            if not finished.cancelled() and finished.exception() is None:
                self._keep(key, finished.result())

        task.add_done_callback(done)
        return task

    def _keep(self, key: _Key, verdict: Verdict | None) -> None:
        self._kept.pop(key, None)
        self._kept[key] = (verdict, self._clock() + KEPT_SECONDS)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """The configuration has changed."""
        self._kept.clear()

    async def close(self) -> None:
        asking = [*self._asking.values(), *self._idle.values()]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
