"""An operator's bounces: one message after the other is given up, by the rules that the service keeps itself.

Who wants to tell a sender that mail has failed is not asked for less than the service: nobody vouches, no report; the
mail is held then. Edits are decided message by message, since each has to be asked about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace

from fallback_mx.bounces.reporter import Reporter
from fallback_mx.rules.dsn import Failure, Why
from mxqueue import Decision, Message, Queue, RecipientState


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of one message. `report_id` is empty where no report was sent; `reason` says why."""

    message_id: str
    was_done: bool
    report_id: str = ""
    reason: str = ""


class Desk:
    """`actor` and `reason` are for the ledger."""

    def __init__(self, queue: Queue, reporter: Reporter, actor: str, reason: str) -> None:
        self._queue = queue
        self._reporter = reporter
        self._actor = actor
        self._reason = reason

    async def bounce(self, message: Message, positions: Iterable[int]) -> Returned:
        """Give up these recipients. Raises QueueError."""
        wanted = set(positions)
        failures = {
            each.position: Failure(each.forward_path, Why.RETURNED, each.last_reply)
            for each in message.recipients
            if each.position in wanted
        }
        given_up = await self._reporter.give_up(message, failures, lambda: self._chunks(message.id))
        outcomes = {
            position: replace(outcome, reply=self._detail(outcome.reply.removeprefix(failures[position].said)))
            for position, outcome in given_up.outcomes.items()
        }
        decision = Decision(message.id, outcomes, given_up.report)
        was_done = await asyncio.wrap_future(self._queue.decide(decision, self._actor))
        report_id = given_up.report.envelope.id if given_up.report is not None else ""
        held = [one.reply for one in outcomes.values() if one.state is RecipientState.HELD]
        return Returned(message.id, was_done, report_id if was_done else "", held[0] if held else "")

    def _detail(self, said: str) -> str:
        """Why it was done, and what became of it."""
        told = said.strip().removeprefix("(").removesuffix(")")
        return f"{self._reason}; {told}" if self._reason else told

    async def _chunks(self, message_id: str) -> AsyncIterator[bytes]:
        stored = await asyncio.wrap_future(self._queue.content(message_id))
        for piece in await asyncio.to_thread(_whole, stored.chunks()):
            yield piece


def _whole(chunks: Iterator[bytes]) -> list[bytes]:
    return list(chunks)
