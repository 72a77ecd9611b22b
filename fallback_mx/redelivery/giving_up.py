"""Recipients that are given up, and whose sender may have to be told.

Whether he may be told takes questions to name servers, so it is found out beside the drain: the leases are kept
meanwhile, and outcome and report are settled together. Nothing is lost by a stop or a crash in between: the recipients
are pending until then, are tried again, and refused again. What cannot be decided now (the content cannot be read) is
deferred; so is what comes while too many others wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from fallback_mx.redelivery.feed import Feed
from fallback_mx.redelivery.settling import Settled, Settler
from fallback_mx.redelivery.shelf import Load
from fallback_mx.redelivery.terms import DrainEvents, DrainSettings, Reporter
from fallback_mx.rules.bouncing import GivenUp
from fallback_mx.rules.dsn import Failure, Why
from mxqueue.errors import QueueError
from mxqueue.model import Outcome, RecipientState

MOST_WAITING = 200


class GivingUp:
    """Takes loads with failures, and hands the settler what became of them."""

    def __init__(
        self,
        reporter: Reporter | None,
        feed: Feed,
        settler: Settler,
        events: DrainEvents,
        settings: DrainSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._reporter = reporter
        self._feed = feed
        self._settler = settler
        self._events = events
        self._settings = settings
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        """How many more may be taken."""
        return max(0, MOST_WAITING - len(self._tasks))

    def take(self, load: Load, failures: Mapping[int, Failure], *, counts: bool = True) -> None:
        """These recipients of the load, by position. `counts`: it was an attempt that ended so."""
        if not self.room:
            self._settle(load, GivenUp(self._deferred(failures)), counts=counts)
            return
        # What was read ahead for the courier, its neighbours' content with it, is not to be kept for so long.
        load.group = None
        task = asyncio.get_running_loop().create_task(self._decide(load, failures, counts=counts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def take_aged(self, load: Load, reason: str) -> None:
        """All recipients of the load, since their time is over."""
        failures = {
            each.position: Failure(each.forward_path, Why.EXPIRED, each.last_reply or reason)
            for each in load.message.recipients
        }
        self.take(load, failures, counts=False)

    async def stop(self) -> None:
        """Give back what has not been decided yet."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _decide(self, load: Load, failures: Mapping[int, Failure], *, counts: bool) -> None:
        assert self._reporter is not None
        try:
            given_up = await self._reporter.give_up(load.message, failures, load.chunks)
        except asyncio.CancelledError:
            self._feed.put_back(load)
            raise
        except QueueError as error:
            self._events.trouble(error)
            given_up = GivenUp(self._deferred(failures))
        except Exception as error:
            self._events.crashed(error)
            given_up = GivenUp(self._deferred(failures))
        self._settle(load, given_up, counts=counts)

    def _deferred(self, failures: Mapping[int, Failure]) -> dict[int, Outcome]:
        later = self._clock() + self._settings.first_wait
        return {
            position: Outcome(RecipientState.PENDING, one.said, not_before=later) for position, one in failures.items()
        }

    def _settle(self, load: Load, given_up: GivenUp, *, counts: bool) -> None:
        outcomes = {position: replace(outcome, counts=counts) for position, outcome in given_up.outcomes.items()}
        held = {position: one for position, one in outcomes.items() if one.state.is_live}
        ended = {position: one for position, one in outcomes.items() if position not in held}
        # Only what the report tells of stands or falls with it.
        if held:
            self._settler.add(Settled(load, held, {}, is_part=bool(ended)))
        if ended:
            self._settler.add(Settled(load, ended, {}, report=given_up.report))
