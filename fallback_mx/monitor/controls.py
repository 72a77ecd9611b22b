"""Whether it is we who are cut off: addresses elsewhere that answer while our own network works.

They are asked only when a primary has failed, and never more often than once a second, however many have: all that wait
get the answer of the next check. A check that began before a primary failed says nothing of that moment, so the answer
is always of one that began after. One control after the other is asked first; only if it is silent are all the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

SPACING_SECONDS = 1.0
# While we are cut off it is looked this often if that is over.
AGAIN_SECONDS = 5.0

Reach = Callable[[str], Awaitable[bool]]
"""Whether anybody answers at this control, within bounded time. Raises where our own machine could not try."""


class Controls:
    """`on_cut_off` and `on_reached` hear when that changes. For one event loop."""

    def __init__(
        self,
        names: Sequence[str],
        reach: Reach,
        on_cut_off: Callable[[str], None] = lambda detail: None,
        on_reached: Callable[[], None] = lambda: None,
    ) -> None:
        self._names = tuple(names)
        self._reach = reach
        self._on_cut_off = on_cut_off
        self._on_reached = on_reached
        self._turn = 0
        self._began_at = float("-inf")
        self._next: asyncio.Task[bool] | None = None
        self._running: asyncio.Task[bool] | None = None
        self._return: asyncio.Task[None] | None = None
        self.is_cut_off = False

    def stop(self) -> None:
        for task in (self._next, self._running, self._return):
            if task is not None:
                task.cancel()

    async def cut_off(self) -> str | None:
        """Why it is we that are cut off; None where some control answers, or where there is none."""
        if not self._names:
            return None
        # Shielded: one who waits and is cancelled leaves the check to the others.
        if self._next is None:
            self._next = asyncio.ensure_future(self._check(self._running))
        reached = await asyncio.shield(self._next)
        return None if reached else self._silence

    async def _check(self, before: asyncio.Task[bool] | None) -> bool:
        loop = asyncio.get_running_loop()
        if before is not None:
            await asyncio.wait([before])
        await asyncio.sleep(max(0.0, self._began_at + SPACING_SECONDS - loop.time()))
        # Who asks from now on asks for the next check.
        self._running, self._next = self._next, None
        self._began_at = loop.time()
        first = self._names[self._turn % len(self._names)]
        self._turn += 1
        rest = [name for name in self._names if name != first]
        reached = await self._answers([first]) or await self._answers(rest)
        self._tell(reached)
        return reached

    async def _answers(self, names: Sequence[str]) -> bool:
        asking = [asyncio.ensure_future(self._reach(name)) for name in names]
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    if await answer:
                        return True
                except Exception:  # noqa: S112 - what this machine could not ask is no answer, and no harm
                    continue
            return False
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    def _tell(self, reached: bool) -> None:
        if reached != self.is_cut_off:
            return
        self.is_cut_off = not reached
        if reached:
            self._on_reached()
        else:
            self._on_cut_off(self._silence)
            self._return = asyncio.ensure_future(self._await_return())

    async def _await_return(self) -> None:
        """Primaries that answer ask for no check, and it would never be known that this is over."""
        while self.is_cut_off:
            await asyncio.sleep(AGAIN_SECONDS)
            await self.cut_off()

    @property
    def _silence(self) -> str:
        return f"no control answers ({', '.join(self._names)})"
