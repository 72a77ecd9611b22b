"""Courier processes: a drain with much to do has its mail carried by another process, and promises what it always does.

A real queue, a real process, and a real server behind a socket.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from fallback_mx.redelivery.carrier import MOST_UNSETTLED
from fallback_mx.rules.disposition import OnRefusal
from fallback_mx.service import couriers
from fallback_mx.service.couriers import Couriers
from fallback_mx.smtp.sink import Sink, SinkSession
from mxqueue.model import LedgerEvent, RecipientState
from mxqueue.schema import chunk
from tests.fakes.drains import SETTINGS, Rig, contents, rig, until

# Two claims of so many show that there is much to do.
MUCH = replace(SETTINGS, batch=20)
DELIVERED, HELD = RecipientState.DELIVERED, RecipientState.HELD


def on_a_rig(directory: Path, use: Callable[[Rig, Couriers], Awaitable[None]], sink: Sink | None = None) -> None:
    async def run() -> None:
        async with rig(directory, sink) as r:
            reader = r.queue.reader
            assert reader is not None
            crew = Couriers(1, reader)
            try:
                await use(r, crew)
            finally:
                await crew.stop()

    asyncio.run(run())


async def by_a_process(crew: Couriers) -> None:
    """Have a process there, so that nearly all of what the test puts in the queue goes by it."""
    crew.want(lambda: None)
    await until(lambda: crew.places, "a courier process")


def pid_of(crew: Couriers) -> int:
    [place] = crew.places
    assert place.pid is not None
    return place.pid


def all_are(r: Rig, state: RecipientState) -> bool:
    return {each.state for each in r.recipients()} == {state}


def test_what_a_process_carries_arrives_once_and_whole_and_is_on_record(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        ids = r.accept_many(300)
        large = b"".join(b"%09d\r\n.\r\n\xff\x00\r\n" % number for number in range(150_000))
        r.accept(large, body="8BITMIME", trace=b"Received: by mx2.test\r\n")
        await by_a_process(crew)
        async with r.running(MUCH, elsewhere=crew):
            await until(lambda: len(r.events.named("delivered")) == 301, "301 deliveries")
            assert crew.places[0].is_used
        expected = [b"Subject: %d\r\n\r\nhello %d\r\n" % (number, number) for number in range(300)]
        assert sorted(contents(r.sink)) == sorted([*expected, b"Received: by mx2.test\r\n" + large])
        assert r.ledger(ids[-1]) == [LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED]
        assert all_are(r, DELIVERED)
        assert r.leased() == []

    on_a_rig(tmp_path, use)


def test_little_to_do_starts_no_process(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(21)
        async with r.running(MUCH, elsewhere=crew):
            await until(lambda: len(r.events.named("delivered")) == 21, "21 deliveries")
        assert crew.size == 0

    on_a_rig(tmp_path, use)


def test_a_process_that_nobody_needs_any_more_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(couriers, "IDLE_SECONDS", 0.1)

    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(100)
        async with r.running(MUCH, elsewhere=crew):
            await until(lambda: len(r.events.named("delivered")) == 100, "100 deliveries")
            await until(lambda: crew.size == 0, "the process to leave")

    on_a_rig(tmp_path, use)


def test_no_more_connections_stand_than_the_primary_may_be_given(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(400)
        await by_a_process(crew)
        async with r.running(replace(MUCH, max_connections=3), elsewhere=crew):
            await until(lambda: len(r.events.named("delivered")) == 400, "400 deliveries")
        assert r.sink.most_connections == 3

    on_a_rig(tmp_path, use)


def slowly(_: SinkSession, said: str) -> None:
    """A primary that is the slower of the two, so that it always has some of what the process was given."""
    time.sleep(0.005)


def refuse(_: SinkSession, said: str) -> str | None:
    return "550 5.1.1 No such user" if "nobody@" in said else None


def test_refusals_deferrals_and_damage_come_back_as_they_are(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(80)
        damaged = r.accept(b"damaged\r\n")

        def damage(connection: Connection) -> None:
            connection.execute(update(chunk).where(chunk.c.message_id == damaged).values(octets=b"DAMAGED\r\n"))

        r.queue.writer.submit(damage).result()
        refused = r.accept(b"refused\r\n", "nobody@example.test", "user@example.test")
        await by_a_process(crew)
        async with r.running(MUCH, elsewhere=crew):
            await until(lambda: len(r.events.named("held")) == 2, "two that are held")
            await until(lambda: len(r.events.named("delivered")) == 81, "81 deliveries")
        states = {(each.message_id, each.position): (each.state, each.last_reply) for each in r.recipients()}
        assert states[damaged, 0][0] is HELD
        assert states[refused, 0] == (HELD, "550 5.1.1 No such user")
        assert states[refused, 1][0] is DELIVERED

    on_a_rig(tmp_path, use, Sink(replies={"rcpt": refuse}))


def test_a_process_that_is_killed_loses_nothing_and_doubles_little(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(600)
        await by_a_process(crew)
        async with r.running(MUCH, elsewhere=crew):
            await until(lambda: len(r.sink.messages) > 100, "100 messages")
            os.kill(pid_of(crew), signal.SIGKILL)
            await until(lambda: len(r.events.named("delivered")) == 600, "every delivery")
        assert all_are(r, DELIVERED)
        assert set(contents(r.sink)) == {b"Subject: %d\r\n\r\nhello %d\r\n" % (number, number) for number in range(600)}
        assert len(r.sink.messages) <= 600 + MOST_UNSETTLED + 2 * MUCH.max_connections

    on_a_rig(tmp_path, use, Sink(replies={"final": slowly}))


def test_when_the_gate_shuts_what_was_not_begun_stays(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(600)
        await by_a_process(crew)
        async with r.running(MUCH, elsewhere=crew) as drain:
            await until(lambda: len(r.sink.messages) > 100, "100 messages")
            r.primary.is_up = False
            begun = len(r.sink.messages)
            drain.wake()
            await until(lambda: not drain.status.is_draining, "the end of the drain")
            # On each connection one on the wire and one announced; less than the process has been given.
            assert len(r.sink.messages) <= begun + 4 * MUCH.max_connections
            await until(lambda: r.leased() == [], "no lease")
            sent = len(r.sink.messages)
            r.primary.is_up = True
            drain.wake()
            await until(lambda: len(r.events.named("delivered")) == 600, "every delivery")
        assert all_are(r, DELIVERED)
        assert 100 < sent < 600
        assert len(r.sink.messages) == 600

    on_a_rig(tmp_path, use, Sink(replies={"final": slowly}))


def test_a_stop_in_the_middle_leaves_no_lease_and_sends_nothing_twice(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(600)
        await by_a_process(crew)
        async with r.running(MUCH, elsewhere=crew):
            await until(lambda: len(r.sink.messages) > 100, "100 messages")
        assert 100 < len(r.sink.messages) < 600
        assert r.leased() == []
        assert len(r.recipients(DELIVERED)) == len(r.sink.messages)

    on_a_rig(tmp_path, use, Sink(replies={"final": slowly}))


def test_a_refusal_of_everything_is_suspect_there_too(tmp_path: Path) -> None:
    async def use(r: Rig, crew: Couriers) -> None:
        r.accept_many(200)
        await by_a_process(crew)
        async with r.running(replace(MUCH, on_refusal=OnRefusal.DISCARD), elsewhere=crew):
            await until(lambda: len(r.sink.messages) > 100, "100 messages")
            r.primary.recovered_at = r.clock()
            r.sink.replies["rcpt"] = "550 5.1.1 No"
            await until(lambda: r.events.named("deferred"), "a deferral")
        assert r.events.named("failed") == []
        assert all(each["suspect"] for each in r.events.named("deferred"))

    on_a_rig(tmp_path, use)
