"""FAULTS 21: a primary that is back, with a long queue before it and little room."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from fallback_mx.smtp.sink import Answer, Sink, SinkSession
from mxqueue.model import LedgerEvent, RecipientState
from tests.fakes.drains import SETTINGS, contents, rig, until
from tests.fakes.frail import FrailSink

ROOM = 3
MESSAGES = 2000


def test_a_primary_with_room_for_three_is_given_three_and_no_storm(tmp_path: Path) -> None:
    refused: list[SinkSession] = []
    served: list[int] = []

    async def run() -> None:
        sink = Sink()

        def banner(session: SinkSession, _: str) -> Answer:
            if sink.connections <= ROOM:
                return None
            refused.append(session)
            return "421 4.7.0 Too many connections"

        def final(session: SinkSession, _: str) -> Answer:
            served.append(sink.connections - sum(not each.gone.done() for each in refused))
            return None

        sink.replies = {"banner": banner, "final": final}
        async with rig(tmp_path, sink) as r:
            r.accept_many(MESSAGES)
            async with r.running(replace(SETTINGS, max_connections=10)):
                await until(lambda: len(r.events.named("delivered")) == MESSAGES, "every message to be delivered")
            assert served[0] == 1, "expected a canary alone"
            assert max(served) == ROOM
            assert len(contents(sink)) == len(set(contents(sink))) == MESSAGES
            assert {each.attempts for each in r.recipients()} == {1}
            # Ever more rarely: the fourth connection costs 10, 100, 1000 successes each of the three.
            assert len(refused) <= 5, f"expected hardly any, found {len(refused)} refused connections"
            assert all(each.good for each in r.primary.observations), "expected a full primary not to count as down"

    asyncio.run(run())


def test_a_primary_that_dies_under_ten_connections_never_sees_so_many(tmp_path: Path) -> None:
    async def run() -> None:
        sink = FrailSink(ROOM, fatal=10)
        async with rig(tmp_path, sink) as r:
            waiting = r.accept_many(MESSAGES)
            async with r.running(replace(SETTINGS, max_connections=20)):
                await until(lambda: len(r.events.named("delivered")) == MESSAGES, "every message to be delivered")
            assert (sink.most_served, sink.has_died) == (ROOM, False)
            assert len(set(contents(sink))) == MESSAGES
            told = {tuple(r.ledger(each)) for each in waiting[:: MESSAGES // 100]}
            assert told == {(LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED)}

    asyncio.run(run())


def test_a_primary_that_is_overloaded_is_given_less_and_loses_nothing(tmp_path: Path) -> None:
    """It answers 451 to whatever comes while more than two are connected."""

    async def run() -> None:
        sink = Sink()

        def final(session: SinkSession, _: str) -> Answer:
            return "451 4.3.2 Overloaded" if sink.connections > 2 else None

        sink.replies["final"] = final
        async with rig(tmp_path, sink) as r:
            r.accept_many(300)
            async with r.running(replace(SETTINGS, max_connections=10)) as drain:
                while r.recipients(RecipientState.PENDING):
                    r.clock.advance(minutes=5)
                    drain.wake()
                    await asyncio.sleep(0.05)
            assert len(contents(sink)) == len(set(contents(sink))) == 300
            deferred = len(r.events.named("deferred"))
            assert deferred < 150, f"expected the drain to learn, found {deferred} deferrals"

    asyncio.run(run())
