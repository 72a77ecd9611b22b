"""The drain: a real queue on one side, a real server behind a socket on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from fallback_mx.redelivery import Courier, DrainSettings, OnExpiry
from fallback_mx.redelivery.carrier import MOST_UNSETTLED
from fallback_mx.redelivery.pace import CANARIES_AT_ONCE
from fallback_mx.rules.backoff import Backoff
from fallback_mx.rules.disposition import NoConnection, OnRefusal
from fallback_mx.rules.draining import Phase
from fallback_mx.smtp.sink import Act, Answer, Sink, SinkSession
from mxqueue.model import Filter, LedgerEvent, Outcome, RecipientState, Settlement
from mxqueue.schema import chunk
from mxqueue.sqlite import sqlite_module
from tests.fakes.clock import START
from tests.fakes.drains import SETTINGS, Rig, contents, rig, until

PENDING, HELD, DELIVERED = RecipientState.PENDING, RecipientState.HELD, RecipientState.DELIVERED
FAILED, EXPIRED = RecipientState.FAILED, RecipientState.EXPIRED
ONE_BY_ONE = replace(SETTINGS, max_connections=1)


def on_a_rig(directory: Path, use: Callable[[Rig], Awaitable[None]], sink: Sink | None = None) -> None:
    async def run() -> None:
        async with rig(directory, sink) as r:
            await use(r)

    asyncio.run(run())


# What is due is delivered, and that is on record -------------------------------------------------------------------


def test_what_waits_is_delivered_and_leaves_the_queue(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        accepted = r.accept(b"hello\r\n", trace=b"Received: by mx2.test\r\n")
        async with r.running():
            await until(lambda: r.events.named("delivered"), "a delivery")
        assert contents(r.sink) == [b"Received: by mx2.test\r\nhello\r\n"]
        assert r.ledger(accepted) == [LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED]
        [recipient] = r.recipients()
        assert (recipient.state, recipient.attempts) == (DELIVERED, 1)
        assert recipient.last_reply == "250 2.0.0 Ok: kept as 1"

    on_a_rig(tmp_path, use)


def test_it_is_asleep_until_it_is_woken(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        async with r.running() as drain:
            await asyncio.sleep(0)
            r.accept()
            drain.wake()
            await until(lambda: r.sink.messages, "a delivery")

    on_a_rig(tmp_path, use)


def test_an_edit_by_another_process_is_noticed_without_being_woken(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept()
        [claim] = r.queue.claim("main", "another").result()
        later = Outcome(PENDING, "451 Later", not_before=START + timedelta(days=1))
        r.queue.settle([Settlement(claim, {0: later})]).result()
        async with r.running():
            r.queue.retry(Filter(), "operator", "now, please").result()
            await until(lambda: r.sink.messages, "a delivery")

    on_a_rig(tmp_path, use)


def test_the_oldest_message_goes_first(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        for number in range(30):
            r.clock.advance(seconds=1)
            r.accept(b"%d\r\n" % number)
        async with r.running(ONE_BY_ONE):
            await until(lambda: len(r.sink.messages) == 30, "30 deliveries")
        assert contents(r.sink) == [b"%d\r\n" % number for number in range(30)]

    on_a_rig(tmp_path, use)


def test_a_domain_with_much_mail_does_not_keep_another_waiting(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        for number in range(400):
            r.accept(b"many %d\r\n" % number, "u@many.test")
        r.clock.advance(seconds=1)
        for number in range(3):
            r.accept(b"few %d\r\n" % number, "u@few.test")
        async with r.running(replace(ONE_BY_ONE, batch=50)):
            await until(lambda: len(r.sink.messages) == 403, "every delivery")
        arrived = contents(r.sink)
        assert [each for each in arrived if each.startswith(b"few")] == [b"few %d\r\n" % number for number in range(3)]
        # A canary, then turn by turn.
        assert max(arrived.index(b"few %d\r\n" % number) for number in range(3)) < 10

    on_a_rig(tmp_path, use)


def test_large_content_arrives_byte_for_byte(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        content = b"".join(b"%09d\r\n.\r\n\xff\x00\r\n" % number for number in range(300_000))
        r.accept(content, body="8BITMIME")
        async with r.running():
            await until(lambda: r.sink.messages, "a delivery")
        assert contents(r.sink) == [content]

    on_a_rig(tmp_path, use)


def test_large_and_small_messages_arrive_together(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        sent = [b"%d\r\n" % number * size for number, size in enumerate([1, 500_000, 20, 40_000, 3, 900_000, 1])]
        for content in sent:
            r.accept(content)
        async with r.running():
            await until(lambda: len(r.sink.messages) == len(sent), "every message")
        assert sorted(contents(r.sink)) == sorted(sent)

    on_a_rig(tmp_path, use)


def test_damaged_content_is_held_and_the_rest_flows(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        damaged, sound = r.accept(b"damaged\r\n"), r.accept(b"sound\r\n")

        def damage(connection: Connection) -> None:
            connection.execute(update(chunk).where(chunk.c.message_id == damaged).values(octets=b"DAMAGED\r\n"))

        r.queue.writer.submit(damage).result()
        async with r.running():
            await until(lambda: r.events.named("held") and r.events.named("delivered"), "one held, one delivered")
        assert contents(r.sink) == [b"sound\r\n"]
        assert {each.message_id: each.state for each in r.recipients()} == {damaged: HELD, sound: DELIVERED}

    on_a_rig(tmp_path, use)


# What the primary answers ------------------------------------------------------------------------------------------


def test_what_is_deferred_waits_for_its_backoff(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept()
        async with r.running() as drain:
            await until(lambda: r.events.named("deferred"), "a deferral")
            [recipient] = r.recipients()
            assert (recipient.state, recipient.attempts) == (PENDING, 1)
            assert recipient.not_before == START + timedelta(minutes=1)
            r.sink.replies.clear()
            r.clock.advance(seconds=61)
            drain.wake()
            await until(lambda: r.sink.messages, "a delivery")
        assert r.recipients()[0].attempts == 2

    on_a_rig(tmp_path, use, Sink(replies={"final": "451 4.3.0 Later"}))


async def _refusal(r: Rig, settings: DrainSettings) -> RecipientState:
    r.accept()
    async with r.running(settings):
        await until(lambda: r.events.named("deferred") + r.events.named("held") + r.events.named("failed"), "an end")
    return r.recipients()[0].state


@pytest.mark.parametrize(
    ("minutes", "on_refusal", "state"),
    [
        (5, OnRefusal.HOLD, PENDING),
        (5, OnRefusal.DISCARD, PENDING),
        (15, OnRefusal.HOLD, HELD),
        (15, OnRefusal.DISCARD, FAILED),
        (None, OnRefusal.HOLD, HELD),
    ],
)
def test_a_refusal_is_final_only_once_the_primary_has_settled(
    tmp_path: Path, minutes: int | None, on_refusal: OnRefusal, state: RecipientState
) -> None:
    async def use(r: Rig) -> None:
        r.primary.recovered_at = None if minutes is None else START - timedelta(minutes=minutes)
        assert await _refusal(r, replace(SETTINGS, on_refusal=on_refusal)) is state
        suspect = [each["suspect"] for each in r.events.named("deferred")]
        assert suspect == ([True] if state is PENDING else [])

    on_a_rig(tmp_path, use, Sink(replies={"rcpt": "550 5.1.1 No"}))


@pytest.mark.parametrize(("on_expiry", "state"), [(OnExpiry.HOLD, HELD), (OnExpiry.DISCARD, EXPIRED)])
def test_a_deferral_at_the_end_of_the_lifetime_is_the_last(
    tmp_path: Path, on_expiry: OnExpiry, state: RecipientState
) -> None:
    async def use(r: Rig) -> None:
        settings = replace(SETTINGS, on_expiry=on_expiry)
        r.accept()
        drain = r.drain(settings)
        # Claimed in time, answered too late.
        r.sink.replies["final"] = lambda *_: r.clock.advance(days=31) or "451 4.3.0 Later"
        running = asyncio.create_task(drain.run())
        await until(lambda: r.recipients()[0].state is state, f"the recipient {state}")
        drain.stop()
        await running
        assert r.recipients()[0].last_reply == "lifetime over: 451 4.3.0 Later"

    on_a_rig(tmp_path, use)


@pytest.mark.parametrize(("on_expiry", "state"), [(OnExpiry.HOLD, HELD), (OnExpiry.DISCARD, EXPIRED)])
def test_mail_expires_while_the_primary_is_down(tmp_path: Path, on_expiry: OnExpiry, state: RecipientState) -> None:
    async def use(r: Rig) -> None:
        r.accept()
        r.clock.advance(days=30, seconds=1)
        r.primary.is_up = False
        async with r.running(replace(SETTINGS, on_expiry=on_expiry)):
            await until(lambda: r.events.named("expired"), "an expiry")
        assert r.events.named("expired") == [{"recipients": 1, "state": state}]
        assert r.recipients()[0].state is state

    on_a_rig(tmp_path, use)


def test_what_is_delivered_is_kept_for_as_long_as_it_is_told_and_goes_out_once_more(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        queue_id = r.accept(b"hello\r\n")
        r.clock.advance(days=29)
        async with r.running(replace(SETTINGS, retain_delivered=timedelta(days=3))):
            await until(lambda: r.events.named("delivered"), "a delivery")
            assert r.queue.show(queue_id).result()[0].keep_until == START + timedelta(days=32)
            r.clock.advance(days=2)
            wanted = Filter(states=frozenset({DELIVERED}), delivered_after=r.clock() - timedelta(days=3))
            r.queue.redeliver(wanted, "operator", "its disk died").result()
            # It is not expired, though it arrived 31 days ago: not before it is tried, and not when it is deferred.
            r.sink.replies["rcpt"] = "450 4.2.0 Not yet"
            await until(lambda: r.events.named("deferred"), "a deferral")
            del r.sink.replies["rcpt"]
            r.clock.advance(minutes=5)
            await until(lambda: len(r.sink.messages) == 2, "a second copy")
        assert contents(r.sink) == [b"hello\r\n"] * 2
        assert r.ledger(queue_id) == [
            *(LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED, LedgerEvent.KEPT, LedgerEvent.REDELIVERED),
            *(LedgerEvent.DEFERRED, LedgerEvent.DELIVERED, LedgerEvent.KEPT),
        ]

    on_a_rig(tmp_path, use)


# Canary, ramp, cap -------------------------------------------------------------------------------------------------


def test_a_canary_goes_alone(tmp_path: Path) -> None:
    """While the first message is with the primary nothing else is: no connection, no command, no claim."""
    seen: list[tuple[int, int, bytes]] = []

    async def use(r: Rig) -> None:
        def final(session: SinkSession, _: str) -> None:
            seen.append((r.sink.connections, len(r.leased()), session.pending))

        r.sink.replies["final"] = final
        r.accept_many(50)
        async with r.running():
            await until(lambda: r.sink.message_count == 50, "50 deliveries")
        assert seen[0] == (1, 1, b"")

    on_a_rig(tmp_path, use)


def test_connections_grow_to_the_limit_and_not_beyond(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept_many(200)
        async with r.running(replace(SETTINGS, max_connections=4, linger_seconds=5)):
            await until(lambda: r.sink.message_count == 200, "200 deliveries")
        assert r.sink.most_connections == 4
        assert r.sink.connection_count == 4, "expected connections to be reused"

    on_a_rig(tmp_path, use)


def test_a_canary_that_is_refused_is_followed_by_another_canary(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.primary.recovered_at = START
        r.accept_many(40)
        async with r.running() as drain:
            await until(lambda: len(r.events.named("deferred")) == 2 * CANARIES_AT_ONCE, "two bursts of canaries")
            assert drain.status.phase is Phase.PUT_OFF
            assert drain.status.reason == "550 5.1.1 No such user"
            assert drain.status.put_off_seconds > 0
            assert drain.status.allowed_connections == 1
        assert r.sink.most_connections == 1
        attempted = [each for each in r.recipients() if each.attempts]
        assert len(attempted) == 20, "expected a half-restored primary to be left alone between canaries"

    on_a_rig(tmp_path, use, Sink(replies={"rcpt": "550 5.1.1 No such user"}))


def test_mail_for_nobody_at_the_head_of_the_queue_does_not_keep_good_mail_waiting(tmp_path: Path) -> None:
    def rcpt(session: SinkSession, command: str) -> Answer:
        return "550 5.1.1 No such user" if "nobody" in command else None

    async def use(r: Rig) -> None:
        r.primary.recovered_at = START
        for _ in range(CANARIES_AT_ONCE - 1):
            r.accept(b"Subject: x\r\n\r\n", "nobody@example.test")
        r.accept_many(50)
        # Whoever is put off once waits longer than this test does.
        never = Backoff(timedelta(hours=1), longest=timedelta(hours=1), lifetime=None)
        async with r.running(replace(SETTINGS, canary_backoff=never)):
            await until(lambda: r.sink.message_count == 50, "the good mail")
        assert len(r.events.named("deferred")) == CANARIES_AT_ONCE - 1

    on_a_rig(tmp_path, use, Sink(replies={"rcpt": rcpt}))


@pytest.mark.parametrize("reply", ["421 4.3.2 Not now", "452 4.3.1 Full"])
def test_a_primary_that_speaks_of_itself_is_left_alone_at_once(tmp_path: Path, reply: str) -> None:
    async def use(r: Rig) -> None:
        r.accept_many(20)
        never = Backoff(timedelta(hours=1), longest=timedelta(hours=1), lifetime=None)
        async with r.running(replace(SETTINGS, canary_backoff=never)) as drain:
            await until(lambda: drain.status.phase is Phase.PUT_OFF, "it to be put off")
        assert len([each for each in r.recipients() if each.attempts]) <= 1

    on_a_rig(tmp_path, use, Sink(replies={"rcpt": reply}))


# Connections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "phase"), [({"banner": "421 4.3.2 Starting"}, "banner"), ({"ehlo": Act.DROP}, "ehlo")]
)
def test_a_failed_connection_costs_no_message_an_attempt(
    tmp_path: Path, replies: dict[str, Answer], phase: str
) -> None:
    async def use(r: Rig) -> None:
        r.accept_many(20)
        async with r.running():
            await until(lambda: r.primary.observations, "an observation")
            await until(lambda: not r.leased(), "everything to be given back")
        assert {(each.state, each.attempts) for each in r.recipients()} == {(PENDING, 0)}
        assert [(each.good, each.phase) for each in r.primary.observations] == [(False, phase)]
        assert r.events.named("connection_failed")[0]["phase"] == phase

    on_a_rig(tmp_path, use, Sink(replies=replies))


def test_failed_connections_count_for_the_primary_and_for_no_message(tmp_path: Path) -> None:
    """By the ledger: whatever the primary did before it took anything, no message has a line about it."""

    async def use(r: Rig) -> None:
        waiting = r.accept_many(50)
        at_once = Backoff(timedelta(milliseconds=1), longest=timedelta(milliseconds=1), lifetime=None)
        async with r.running(replace(SETTINGS, connection_backoff=at_once)) as drain:
            await until(lambda: len(r.primary.observations) >= 5, "five failed connections")
            assert {tuple(r.ledger(each)) for each in waiting} == {(LedgerEvent.ACCEPTED,)}
            assert r.sink.most_connections == 1, "expected one connection at a time to be tried"
            r.sink.replies.clear()
            drain.wake()
            await until(lambda: len(r.events.named("delivered")) == 50, "every delivery")
        assert {tuple(r.ledger(each)) for each in waiting} == {(LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED)}
        assert {each.attempts for each in r.recipients()} == {1}

    on_a_rig(tmp_path, use, Sink(replies={"banner": "421 4.3.2 Starting"}))


def test_a_failed_connection_is_tried_again_by_itself(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept()
        banners: list[Answer] = ["421 4.3.2 Starting"]
        r.sink.replies["banner"] = lambda *_: banners.pop() if banners else None
        async with r.running():
            await until(lambda: r.sink.messages, "a delivery")
        assert [each.good for each in r.primary.observations] == [False, True]

    on_a_rig(tmp_path, use)


AN_HOUR = Backoff(timedelta(hours=1), longest=timedelta(hours=1), lifetime=None)


def test_a_recovery_ends_the_wait_for_the_next_connection(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept()
        async with r.running(replace(SETTINGS, connection_backoff=AN_HOUR)) as drain:
            await until(lambda: r.primary.observations, "a failed connection")
            r.sink.replies.clear()
            r.primary.recovered_at = START
            drain.wake()
            await until(lambda: r.sink.messages, "a delivery")
            assert drain.status.put_off_seconds == 0

    on_a_rig(tmp_path, use, Sink(replies={"banner": "421 4.3.2 Starting"}))


def test_being_woken_does_not_end_the_wait_for_the_next_connection(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept()
        async with r.running(replace(SETTINGS, connection_backoff=AN_HOUR)) as drain:
            await until(lambda: r.primary.observations, "a failed connection")
            for _ in range(5):
                drain.wake()
                await asyncio.sleep(0.02)
        assert r.sink.connection_count == 1

    on_a_rig(tmp_path, use, Sink(replies={"banner": "421 4.3.2 Starting"}))


def test_after_every_recovery_a_canary_goes_first(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept_many(60)
        async with r.running() as drain:
            await until(lambda: r.events.named("drain_ended"), "the first drain to end")
            assert drain.status.allowed_connections == 5
            seen: list[tuple[int, int]] = []
            r.sink.replies["final"] = lambda *_: seen.append((r.sink.connections, len(r.leased())))
            r.primary.recovered_at = START
            r.accept_many(20)
            drain.wake()
            await until(lambda: len(r.sink.messages) == 80, "the second drain")
            assert seen[0] == (1, 1)

    on_a_rig(tmp_path, use)


def test_a_message_announced_behind_one_whose_reply_was_lost_is_not_lost(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        def final(session: SinkSession, _: str) -> Answer:
            return Act.DROP if r.sink.message_count == 3 and session.pending else None

        r.sink.replies["final"] = final
        r.accept_many(30)
        async with r.running(ONE_BY_ONE) as drain:
            await until(lambda: r.events.named("deferred"), "a deferral")
            r.sink.replies.clear()
            await until(lambda: len(r.recipients(DELIVERED)) + len(r.events.named("deferred")) == 30, "the others")
            await until(lambda: drain.status.in_hand == 0, "nothing left in hand")
        assert {each.attempts for each in r.recipients()} == {1}

    on_a_rig(tmp_path, use)


def test_a_primary_that_has_gone_away_is_asked_once_and_not_once_a_connection(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept_many(100)
        async with r.running() as drain:
            await until(lambda: r.events.named("drain_ended"), "the first drain to end")
            assert drain.status.allowed_connections == 5
            await r.sink.stop()
            r.accept_many(20)
            drain.wake()
            await until(lambda: len(r.events.named("drain_ended")) == 2, "the second drain to end")
            assert [each.phase for each in r.primary.observations if not each.good] == ["connect"]

    on_a_rig(tmp_path, use)


def test_trouble_with_the_way_is_no_observation_of_the_primary(tmp_path: Path) -> None:
    async def lost() -> Courier:
        raise NoConnection("route", "no name server answers")

    async def use(r: Rig) -> None:
        r.accept()
        async with r.running(connect=lost):
            await until(lambda: r.events.named("connection_failed"), "a failed connection")
        assert r.primary.observations == []

    on_a_rig(tmp_path, use)


def test_a_connection_that_the_server_ends_between_messages_costs_no_attempt(tmp_path: Path) -> None:
    """Servers limit the messages of a session."""

    async def use(r: Rig) -> None:
        served: dict[SinkSession, int] = {}

        def mail(session: SinkSession, _: str) -> Answer:
            served[session] = served.get(session, 0) + 1
            return Act.DROP if served[session] > 5 else None

        r.sink.replies["mail"] = mail
        r.accept_many(40)
        async with r.running():
            await until(lambda: len(r.events.named("delivered")) == 40, "40 deliveries")
        assert {each.attempts for each in r.recipients()} == {1}
        assert r.sink.message_count == 40

    on_a_rig(tmp_path, use)


# The gate ----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_while_the_primary_is_not_up(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.primary.is_up = False
        r.accept()
        async with r.running() as drain:
            for _ in range(5):
                drain.wake()
                await asyncio.sleep(0.01)
            assert r.sink.connection_count == 0
            assert r.leased() == []
            r.primary.is_up = True
            drain.wake()
            await until(lambda: r.sink.messages, "a delivery")

    on_a_rig(tmp_path, use)


def test_when_the_primary_falls_the_message_on_the_wire_is_finished_and_the_rest_given_back(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        def final(session: SinkSession, _: str) -> None:
            if r.sink.message_count == 9:
                r.primary.is_up = False

        r.sink.replies["final"] = final
        r.accept_many(100)
        async with r.running():
            await until(lambda: r.events.named("drain_ended"), "the drain to end")
            assert r.leased() == []
            assert r.sink.connections == 0
            delivered = len(r.recipients(DELIVERED))
            assert delivered == r.sink.message_count
            assert 10 <= delivered < 30
            assert {each.attempts for each in r.recipients(PENDING)} == {0}

    on_a_rig(tmp_path, use)


# The end -----------------------------------------------------------------------------------------------------------


def test_after_a_stop_nothing_is_leased_and_nothing_was_sent_twice(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept_many(300)
        async with r.running():
            await until(lambda: r.sink.message_count > 20, "some deliveries")
        assert r.leased() == []
        delivered = r.recipients(DELIVERED)
        assert len(delivered) == r.sink.message_count
        assert len(r.recipients(PENDING)) == 300 - len(delivered)
        assert r.sink.connections == 0

    on_a_rig(tmp_path, use)


async def _stopped_on_the_wire(r: Rig, *, cancel: bool) -> None:
    r.accept()
    drain = r.drain(replace(SETTINGS, grace_seconds=0.05))
    running = asyncio.create_task(drain.run())
    await until(lambda: any(command == b"DATA" for command in r.sink.commands), "DATA")
    await asyncio.sleep(0.05)
    if cancel:
        running.cancel()
        await asyncio.wait([running])
    else:
        drain.stop()
        await running
    assert r.leased() == []


@pytest.mark.parametrize("cancel", [False, True], ids=["stopped", "cancelled"])
def test_a_message_cut_off_before_its_final_dot_was_not_tried(tmp_path: Path, cancel: bool) -> None:
    async def use(r: Rig) -> None:
        await _stopped_on_the_wire(r, cancel=cancel)
        [recipient] = r.recipients()
        assert (recipient.state, recipient.attempts) == (PENDING, 0)

    on_a_rig(tmp_path, use, Sink(replies={"data": Act.SILENT}))


@pytest.mark.parametrize("cancel", [False, True], ids=["stopped", "cancelled"])
def test_a_message_cut_off_behind_its_final_dot_is_ambiguous(tmp_path: Path, cancel: bool) -> None:
    async def use(r: Rig) -> None:
        await _stopped_on_the_wire(r, cancel=cancel)
        [recipient] = r.recipients()
        assert (recipient.state, recipient.attempts) == (PENDING, 1)
        assert r.ledger(recipient.message_id)[-1] is LedgerEvent.AMBIGUOUS

    on_a_rig(tmp_path, use, Sink(replies={"final": Act.SILENT}))


# Trouble of our own ------------------------------------------------------------------------------------------------


def test_outcomes_outlive_a_queue_that_cannot_be_written_and_not_too_many_are_added(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        database = sqlite_module().connect(tmp_path / "queue.db", isolation_level=None)

        def final(session: SinkSession, _: str) -> None:
            if r.sink.message_count == 20:
                database.execute("BEGIN IMMEDIATE")

        r.sink.replies["final"] = final
        r.accept_many(200)
        with closing(database):
            async with r.running(replace(SETTINGS, batch=1000)) as drain:
                await until(lambda: r.events.named("trouble"), "the trouble to be told")
                assert r.sink.message_count <= 20 + MOST_UNSETTLED + 2 * SETTINGS.max_connections
                database.execute("ROLLBACK")
                await until(lambda: drain.status.delivered == 200, "every delivery on record")
        assert r.sink.message_count == 200
        assert {each.state for each in r.recipients()} == {DELIVERED}
        assert r.events.named("settlement_refused") == []

    on_a_rig(tmp_path, use)


def test_an_error_of_our_own_program_defers_the_message_and_the_drain_goes_on(tmp_path: Path) -> None:
    class Broken:
        """A courier with a bug."""

        def __init__(self, courier: Courier) -> None:
            self._courier = courier
            self.greeting = courier.greeting
            self.is_usable = True
            self.is_ambiguous = False
            self.quit = courier.quit
            self.abort = courier.abort

        async def deliver(self, *_: object) -> None:
            raise ZeroDivisionError

    async def use(r: Rig) -> None:
        sound = r.connect_to(r.sink.port)
        broken = [True]

        async def dial() -> Courier:
            courier = await sound()
            return Broken(courier) if broken.pop() else courier  # type: ignore[return-value]

        broken.insert(0, False)
        r.accept()
        r.accept()
        async with r.running(connect=dial):
            await until(lambda: r.sink.messages, "the second message")
        assert sorted(each.state for each in r.recipients()) == [DELIVERED, PENDING]
        assert isinstance(r.events.named("crashed")[0]["error"], ZeroDivisionError)

    on_a_rig(tmp_path, use)


def test_leases_are_kept_while_a_message_is_on_the_wire(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        lease = timedelta(seconds=0.2)
        r.accept()
        drain = r.drain(replace(SETTINGS, lease=lease, grace_seconds=0.05))
        running = asyncio.create_task(drain.run())
        await until(r.leased, "a lease")
        [before] = r.leased()
        r.clock.advance(seconds=0.15)
        assert before.lease_until is not None
        await until(lambda: r.leased()[0].lease_until == r.clock() + lease, "the lease to be extended")
        drain.stop()
        await running

    on_a_rig(tmp_path, use, Sink(replies={"final": Act.SILENT}))
