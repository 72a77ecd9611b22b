"""FAULTS 15 and 17: a drain that is killed, or that sleeps past the end of its leases."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fallback_mx.smtp.sink import Act, Answer, Sink, SinkSession
from mxqueue.model import LedgerEvent, Outcome, RecipientState, Settlement
from tests.fakes.drains import SETTINGS, contents, rig, until

ROOT = Path(__file__).parents[2]
MESSAGES = 40
BEYOND_THE_LEASE = 11


async def drain_process(url: str, port: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.drain_process", url, str(port), cwd=ROOT
    )


@pytest.mark.parametrize("killed_at", [1, 2, 17])
def test_killed_after_the_primarys_250_a_message_arrives_twice_at_most(tmp_path: Path, killed_at: int) -> None:
    async def run() -> None:
        async with rig(tmp_path) as r:
            r.accept_many(MESSAGES)
            r.queue.close()
            sink, url = r.sink, f"sqlite:///{tmp_path / 'queue.db'}"
            process = await drain_process(url, sink.port)

            def final(session: SinkSession, _: str) -> Answer:
                if sink.message_count + 1 == killed_at:
                    # The 250 goes out first; the commit of what it says cannot be there yet.
                    asyncio.get_running_loop().call_soon(os.kill, process.pid, signal.SIGKILL)
                return None

            sink.replies["final"] = final
            assert await process.wait() == -signal.SIGKILL
            sink.replies.clear()
            again = await drain_process(url, sink.port)
            assert await again.wait() == 0
            copies = Counter(contents(sink))
            assert len(copies) == MESSAGES, "expected every message to arrive"
            assert max(copies.values()) <= 2
            # On the wire or being committed at that moment: this one, and no more than the connections there were.
            assert sum(copies.values()) - MESSAGES <= killed_at

    asyncio.run(run())


def test_what_a_killed_drain_had_on_the_wire_is_delivered_by_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path, Sink(replies={"final": Act.SILENT})) as r:
            r.accept()
            r.queue.close()
            sink, url = r.sink, f"sqlite:///{tmp_path / 'queue.db'}"
            process = await drain_process(url, sink.port)
            await until(lambda: b"DATA" in sink.commands, "the message on the wire")
            process.kill()
            await process.wait()
            sink.replies.clear()
            again = await drain_process(url, sink.port)
            assert await again.wait() == 0
            assert len(sink.messages) == 1

    asyncio.run(run())


def test_a_worker_that_wakes_late_cannot_settle(tmp_path: Path) -> None:
    """It took the message, slept past its lease, and comes back with an outcome when another has had its own."""
    sessions: list[SinkSession] = []

    def final(session: SinkSession, _: str) -> Answer:
        sessions.append(session)
        return Act.KEEP_THEN_SILENT

    async def run() -> None:
        async with rig(tmp_path, Sink(replies={"final": final})) as r:
            accepted = r.accept()
            async with r.running(SETTINGS):
                await until(lambda: sessions, "the message with the primary")
                r.clock.advance(minutes=BEYOND_THE_LEASE)
                [taken_over] = r.queue.claim("main", "another").result()
                held = Outcome(RecipientState.HELD, "set aside by another")
                r.queue.settle([Settlement(taken_over, {0: held})]).result()
                sessions[0].say("250 2.0.0 Ok")
                await until(lambda: r.events.named("settlement_refused"), "the late settlement to be refused")
            assert r.events.named("delivered") == []
            [recipient] = r.recipients()
            assert (recipient.state, recipient.last_reply) == (RecipientState.HELD, "set aside by another")
            assert r.ledger(accepted) == [LedgerEvent.ACCEPTED, LedgerEvent.HELD, LedgerEvent.REFUSED]

    asyncio.run(run())


def test_a_worker_that_wakes_late_begins_nothing_that_others_may_have(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path) as r:

            def final(session: SinkSession, _: str) -> Answer:
                if r.sink.message_count == 10:
                    # All that was claimed with this one is free for others from here on.
                    r.clock.advance(minutes=BEYOND_THE_LEASE)
                    taken_over.extend(r.queue.claim("main", "another", limit=1000).result())
                return None

            taken_over: list[object] = []
            r.sink.replies["final"] = final
            r.accept_many(MESSAGES)
            async with r.running(SETTINGS):
                await until(lambda: taken_over, "another worker's claim")
                await until(lambda: r.events.named("drain_ended"), "the drain to find nothing more")
            # Those on the wire or announced at that moment are past calling back.
            assert len(r.sink.messages) <= 10 + 1 + 2 * SETTINGS.max_connections

    asyncio.run(run())


def test_a_clock_step_past_our_own_leases_delivers_nothing_twice(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path) as r:

            def final(session: SinkSession, _: str) -> Answer:
                if r.sink.message_count % 5 == 4:
                    r.clock.advance(hours=1)
                return None

            r.sink.replies["final"] = final
            r.accept_many(MESSAGES)
            # Small batches: there is always one more to be claimed.
            async with r.running(replace(SETTINGS, batch=4)):
                await until(lambda: len(r.events.named("delivered")) == MESSAGES, "every message on record")
            assert len(r.sink.messages) == MESSAGES
            assert r.events.named("settlement_refused") == []

    asyncio.run(run())
