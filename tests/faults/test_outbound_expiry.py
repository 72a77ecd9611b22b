"""FAULTS 25: a lifetime that ends while the message is with the primary. Each recipient ends once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fallback_mx.smtp.sink import Act, Answer, Sink, SinkSession
from mxqueue.model import LedgerEvent, RecipientState
from tests.fakes.drains import SETTINGS, Rig, rig, until

BEYOND_THE_LEASE = 11
OVER = "not delivered within 30 days"


def with_the_primary(directory: Path, then: Callable[[Rig, SinkSession, str], Awaitable[None]]) -> None:
    """`then` goes on with a message that the primary has and has not answered yet, and with its id."""
    sessions: list[SinkSession] = []

    def final(session: SinkSession, _: str) -> Answer:
        sessions.append(session)
        return Act.KEEP_THEN_SILENT

    async def run() -> None:
        async with rig(directory, Sink(replies={"final": final})) as r:
            accepted = r.accept()
            async with r.running(SETTINGS):
                await until(lambda: sessions, "the message with the primary")
                await then(r, sessions[0], accepted)

    asyncio.run(run())


def expire(r: Rig) -> int:
    """The lifetime is over: what the drain does now and then, or that of another node. How many it ended."""
    return r.queue.expire("main", r.clock(), RecipientState.EXPIRED, OVER).result()


def test_what_is_with_the_primary_when_its_lifetime_ends_is_delivered_if_the_primary_takes_it(tmp_path: Path) -> None:
    async def then(r: Rig, session: SinkSession, accepted: str) -> None:
        r.clock.advance(minutes=1)
        assert expire(r) == 0, "expected a message that is being delivered to be left alone"
        session.say("250 2.0.0 Ok")
        await until(lambda: r.events.named("delivered"), "the delivery on record")
        assert expire(r) == 0
        assert r.ledger(accepted) == [LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED]

    with_the_primary(tmp_path, then)


def test_what_is_with_the_primary_when_its_lifetime_ends_expires_if_the_primary_does_not_take_it(
    tmp_path: Path,
) -> None:
    async def then(r: Rig, session: SinkSession, accepted: str) -> None:
        # Leases are extended in real time: the clock makes no step beyond this one.
        r.clock.advance(days=31)
        session.say("451 4.3.0 Later")
        await until(lambda: r.events.named("held"), "the end on record")
        assert expire(r) == 0
        [recipient] = r.recipients()
        assert (recipient.state, recipient.last_reply) == (RecipientState.HELD, "lifetime over: 451 4.3.0 Later")
        assert r.ledger(accepted) == [LedgerEvent.ACCEPTED, LedgerEvent.HELD]

    with_the_primary(tmp_path, then)


@pytest.mark.parametrize("reply", ["250 2.0.0 Ok", "451 4.3.0 Later", "550 5.7.1 No"])
def test_what_expired_behind_a_lease_that_ran_out_is_not_ended_again_by_the_late_reply(
    tmp_path: Path, reply: str
) -> None:
    async def then(r: Rig, session: SinkSession, accepted: str) -> None:
        r.clock.advance(minutes=BEYOND_THE_LEASE)
        assert expire(r) == 1
        session.say(reply)
        await until(lambda: r.events.named("settlement_refused"), "the late settlement to be refused")
        [recipient] = r.recipients()
        assert recipient.state is RecipientState.EXPIRED
        assert r.ledger(accepted) == [LedgerEvent.ACCEPTED, LedgerEvent.EXPIRED, LedgerEvent.REFUSED]

    with_the_primary(tmp_path, then)
