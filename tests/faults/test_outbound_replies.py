"""FAULTS 16, 18, 19, 20: what a primary may answer, or not, and what must become of the mail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fallback_mx.rules.disposition import Delivery, Lost, Reply
from fallback_mx.smtp.replies import MAX_LINE_OCTETS, MAX_REPLY_OCTETS
from fallback_mx.smtp.sink import Act, Answer, Sink, SinkSession
from mxqueue.model import LedgerEvent, RecipientState
from tests.fakes.couriers import IN_TURN, deliver, hasty
from tests.fakes.drains import SHORT, Rig, rig, until
from tests.fakes.parcels import MemoryParcel

HELLO = b"Subject: hello\r\n\r\nhello\r\n"
PATIENT_ENOUGH = hasty(command=2, data=2, final=2, block=2)


def on_a_rig(directory: Path, sink: Sink, use: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        async with rig(directory, sink) as r:
            await use(r)

    asyncio.run(run())


# 16, 18, 19 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [Act.KEEP_THEN_DROP, Act.KEEP_THEN_SILENT])
def test_a_reply_lost_after_the_final_dot_is_retried_and_the_ledger_says_ambiguous(tmp_path: Path, act: Act) -> None:
    async def use(r: Rig) -> None:
        accepted = r.accept(HELLO)
        async with r.running(timeouts=replace(SHORT, final=0.1)) as drain:
            await until(lambda: r.events.named("deferred"), "a deferral")
            r.sink.replies.clear()
            r.clock.advance(minutes=2)
            drain.wake()
            await until(lambda: r.events.named("delivered"), "a delivery")
        assert r.events.named("deferred")[0]["ambiguous"]
        assert r.ledger(accepted) == [LedgerEvent.ACCEPTED, LedgerEvent.AMBIGUOUS, LedgerEvent.DELIVERED]
        assert len(r.sink.messages) == 2, "expected the one copy that was kept, and the one that was confirmed"

    on_a_rig(tmp_path, Sink(replies={"final": act}), use)


def test_recipients_answered_250_450_and_550_have_three_independent_outcomes(tmp_path: Path) -> None:
    def by_name(session: SinkSession, path: str) -> Answer:
        return {"later@example.test": "450 4.2.0 Later", "bad@example.test": "550 5.1.1 No"}.get(path)

    async def use(r: Rig) -> None:
        r.accept(HELLO, "good@example.test", "later@example.test", "bad@example.test")
        async with r.running() as drain:
            await until(lambda: len(r.events.told) >= 5 and not r.leased(), "three outcomes")
            states = {each.forward_path: (each.state, each.last_reply) for each in r.recipients()}
            assert states == {
                "good@example.test": (RecipientState.DELIVERED, "250 2.0.0 Ok: kept as 1"),
                "later@example.test": (RecipientState.PENDING, "450 4.2.0 Later"),
                "bad@example.test": (RecipientState.HELD, "550 5.1.1 No"),
            }
            r.sink.replies.clear()
            r.clock.advance(minutes=2)
            drain.wake()
            await until(lambda: r.sink.message_count == 2, "the second delivery")
        assert [message.forward_paths for message in r.sink.messages] == [
            ("good@example.test",),
            ("later@example.test",),
        ]

    on_a_rig(tmp_path, Sink(replies={"rcpt": by_name}), use)


def test_452_at_the_final_dot_is_deferred_and_not_taken_for_delivered(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        accepted = r.accept(HELLO)
        async with r.running():
            await until(lambda: r.events.named("deferred"), "a deferral")
        [recipient] = r.recipients()
        assert (recipient.state, recipient.attempts) == (RecipientState.PENDING, 1)
        assert recipient.last_reply == "452 4.3.1 Insufficient system storage"
        assert r.ledger(accepted) == [LedgerEvent.ACCEPTED, LedgerEvent.DEFERRED]
        assert r.sink.messages == []

    on_a_rig(tmp_path, Sink(replies={"final": "452 4.3.1 Insufficient system storage"}), use)


# 20 ----------------------------------------------------------------------------------------------------------------

STEPS = ("mail", "rcpt", "data", "final")
both_ways = pytest.mark.parametrize("extensions", [None, IN_TURN], ids=["pipelined", "in-turn"])


def sink_that_says(step: str, said: Answer, extensions: tuple[str, ...] | None) -> Sink:
    sink = Sink(replies={step: said})
    if extensions is not None:
        sink.extensions = extensions
    return sink


def assert_deferred(delivery: Delivery) -> None:
    [result] = delivery.results
    assert isinstance(result, Lost), f"expected no verdict, found {result}"


@both_ways
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n",
        b"hello there\r\n",
        b"99\r\n",
        b"250_ok\r\n",
        b"250-a\r\n550 b\r\n",
        b"\x00\x01\x02\xff\r\n",
        b"199 what\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_garbled_reply_breaks_the_connection_and_defers(
    step: str, garbage: bytes, extensions: tuple[str, ...] | None
) -> None:
    [delivery] = deliver(sink_that_says(step, garbage, extensions), MemoryParcel(HELLO), settings=PATIENT_ENOUGH)
    assert_deferred(delivery)


@both_ways
@pytest.mark.parametrize(
    ("step", "reply"),
    [("mail", "354 Go on"), ("rcpt", "354 Go on"), ("data", "250 Ok"), ("final", "354 Go on")],
)
def test_a_reply_that_its_command_cannot_get_breaks_the_connection(
    step: str, reply: str, extensions: tuple[str, ...] | None
) -> None:
    [delivery] = deliver(sink_that_says(step, reply, extensions), MemoryParcel(HELLO), settings=PATIENT_ENOUGH)
    assert_deferred(delivery)


@both_ways
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("endless", "limit"),
    [(b"2" * 1000, MAX_LINE_OCTETS), (b"250-and another line\r\n" * 50, MAX_REPLY_OCTETS)],
    ids=["line", "lines"],
)
def test_an_endless_reply_is_bounded(step: str, endless: bytes, limit: int, extensions: tuple[str, ...] | None) -> None:
    sent: list[int] = []

    def flood(session: SinkSession, _: str) -> Act:
        async def go_on() -> None:
            while not session.gone.done() and sum(sent) < 100 * limit:
                session.say(endless)
                sent.append(len(endless))
                await asyncio.sleep(0)

        flooding.append(asyncio.create_task(go_on()))
        return Act.SILENT

    flooding: list[asyncio.Task[None]] = []
    sink = sink_that_says(step, None, extensions)
    sink.replies[step] = flood
    [delivery] = deliver(sink, MemoryParcel(HELLO), settings=hasty(command=60, data=60, final=60))
    assert_deferred(delivery)
    assert sum(sent) < 100 * limit, "expected the connection to be cut long before"


@both_ways
@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
def test_one_reply_too_many_is_paired_with_no_command(step: str, extensions: tuple[str, ...] | None) -> None:
    """The surplus 250 must not be taken for the reply to the content, or for that to another recipient."""
    surplus = {"data": b"354 Go on\r\n250 2.0.0 Ok: kept\r\n"}.get(step, b"250 Ok\r\n250 Ok\r\n")
    [delivery] = deliver(sink_that_says(step, surplus, extensions), MemoryParcel(HELLO), settings=PATIENT_ENOUGH)
    assert_deferred(delivery)


@both_ways
@pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])
def test_a_refusal_is_not_believed_where_one_reply_too_many_came_before_it(
    extensions: tuple[str, ...] | None, late: bool
) -> None:
    """MAIL is answered twice, so each reply seems to belong to the command behind its own."""

    def rcpt(session: SinkSession, path: str) -> Answer:
        return "550 5.1.1 No such user" if path.startswith("bad") else None

    sink = sink_that_says("mail", b"250 Ok\r\n250 Ok\r\n", extensions)
    sink.replies["rcpt"] = rcpt
    if late:
        # The surplus comes to light only when we have something more to ask.
        sink.replies |= {"data": b"", "rset": b"354 Go on\r\n250 Ok\r\n"}
    parcel = MemoryParcel(HELLO, forward_paths=("good@example.test", "bad@example.test"))
    [delivery] = deliver(sink, parcel, settings=PATIENT_ENOUGH)
    assert not any(isinstance(result, Reply) and result.is_refusal for result in delivery.results)
    assert sink.messages == []


@both_ways
def test_replies_made_before_their_commands_end_the_connection(extensions: tuple[str, ...] | None) -> None:
    """A whole session's worth of replies, sent with the one to EHLO."""
    offered = b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n" if extensions is None else b"250 sink.test\r\n"
    staged = b"250 ok\r\n250 ok\r\n354 go\r\n250 kept\r\n221 bye\r\n"

    def ehlo(session: SinkSession, _: str) -> Answer:
        asyncio.get_running_loop().call_later(0.05, session.say, staged)
        return offered

    def silent(*_: object) -> Answer:
        return b""

    sink = Sink(replies={"ehlo": ehlo, "mail": silent, "rcpt": silent, "data": silent, "final": silent})
    [delivery] = deliver(sink, MemoryParcel(HELLO), settings=PATIENT_ENOUGH)
    assert_deferred(delivery)


def test_an_unsolicited_reply_between_two_messages_breaks_the_connection() -> None:
    def final(session: SinkSession, _: str) -> Answer:
        return b"250 2.0.0 Ok\r\n250 2.0.0 Ok again\r\n"

    first, second = deliver(
        Sink(replies={"final": final}, extensions=IN_TURN), MemoryParcel(b"1\r\n"), MemoryParcel(b"2\r\n")
    )
    assert first.results == (Reply(250, "2.0.0 Ok"),)
    assert_deferred(second)


def test_a_refusal_in_the_middle_of_the_content_defers(tmp_path: Path) -> None:
    """The server must hear the message out; what it says before is no reply to it."""

    def data(session: SinkSession, _: str) -> Answer:
        asyncio.get_running_loop().call_later(0.01, session.say, "552 5.3.4 Too big")
        return None

    class Slow(MemoryParcel):
        async def chunks(self):  # type: ignore[no-untyped-def]
            async for piece in super().chunks():
                yield piece
                await asyncio.sleep(0.02)

    sink = Sink(replies={"data": data})
    [delivery] = deliver(sink, Slow(HELLO * 5, piece_octets=20), settings=PATIENT_ENOUGH)
    assert_deferred(delivery)
    [result] = delivery.results
    assert isinstance(result, Lost)
    assert not result.ambiguous
    assert "552 5.3.4 Too big" in result.detail
    assert sink.messages == []


@both_ways
def test_a_reply_a_byte_at_a_time_is_a_reply(extensions: tuple[str, ...] | None) -> None:
    def slowly(session: SinkSession, _: str) -> Act:
        async def drip() -> None:
            for byte in b"550-5.7.1 Not\r\n550 5.7.1 from you\r\n":
                session.say(bytes([byte]))
                await asyncio.sleep(0.001)

        dripping.append(asyncio.create_task(drip()))
        return Act.SILENT

    dripping: list[asyncio.Task[None]] = []
    sink = sink_that_says("final", None, extensions)
    sink.replies["final"] = slowly
    [delivery] = deliver(sink, MemoryParcel(HELLO), settings=PATIENT_ENOUGH)
    assert delivery.results == (Reply(550, "5.7.1 Not 5.7.1 from you"),)


def test_a_drain_survives_a_primary_that_talks_nonsense(tmp_path: Path) -> None:
    async def use(r: Rig) -> None:
        r.accept(HELLO)
        async with r.running() as drain:
            await until(lambda: r.events.named("deferred"), "a deferral")
            r.sink.replies.clear()
            r.clock.advance(minutes=2)
            drain.wake()
            await until(lambda: r.sink.messages, "a delivery")
        assert [message.content for message in r.sink.messages] == [HELLO]

    on_a_rig(tmp_path, Sink(replies={"rcpt": b"\xff\xff\xff\xff\r\n"}), use)
