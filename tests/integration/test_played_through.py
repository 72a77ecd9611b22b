"""Transactions played through to a primary that is up, through real sockets, with a real queue behind."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.smtp.sink import EXTENSIONS, Act, Answer, Sink, SinkSession
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.terms import Route
from mxqueue import LedgerEvent
from tests.fakes.played import TWO, Play, Scene, in_turn, until
from tests.fakes.raw_server import closed_port

LETTER = b"Subject: hello\r\n\r\nhello\r\n..\r\n"
SENT = b"Subject: hello\r\n\r\nhello\r\n...\r\n"

# The primary's replies are the sender's ----------------------------------------------------------------------------


def test_a_message_is_taken_by_the_primary_and_by_nobody_else(play: Play) -> None:
    async def story(scene: Scene) -> None:
        reply = await (await scene.client()).deliver(SENT)
        assert reply == "250 2.0.0 Ok: kept as 1"
        (message,) = scene.sink.messages
        trace, _, content = message.content.partition(b"\r\nSubject:")
        assert trace.startswith(b"Received: from client.test ([127.0.0.1])\r\n\tby mx2.test")
        assert b"Subject:" + content == LETTER
        assert (message.reverse_path, message.forward_paths) == ("a@sender.test", ("u@example.test",))
        assert await scene.queued() == []
        ((envelope, size, said),) = scene.told.proxied_messages
        assert envelope.id.encode() in trace
        assert (size, said) == (len(LETTER), "250 2.0.0 Ok: kept as 1")

    play(story)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("550 5.1.1 No such user here", "550 5.1.1 No such user here"),
        ("450 4.2.0 Greylisted for 300 s", "450 4.2.0 Greylisted for 300 s"),
        ("550-5.7.1 Blocked\r\n550-5.7.1  see http://x.test\r\n550 5.7.1 bye", None),
        ("550 no code of its own", "550 5.0.0 no code of its own"),
        ("452-one\r\n452 two", "452-4.0.0 one\r\n452 4.0.0 two"),
        ("550 5.1.1 bell \x07, escape \x1b[31m", "550 5.1.1 bell \\x07, escape \\x1b[31m"),
        (b"550 5.1.1 unbekannt: M\xc3\xbcller\r\n", "550 5.1.1 unbekannt: M\\xfcller"),
        ("552", "552 5.0.0"),
    ],
)
def test_what_the_primary_says_to_a_recipient_is_said_to_the_sender(
    play: Play, said: str | bytes, expected: str | None
) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert await client.say("MAIL FROM:<a@sender.test>") == "250 2.1.0 Ok"
        reply = await client.say("RCPT TO:<u@example.test>")
        assert reply == (str(said).replace("  ", " ") if expected is None else expected)
        assert (await client.say("DATA")).startswith("554 5.5.1")
        assert scene.looks == []

    play(story, Sink(replies={"rcpt": said}))


def test_a_sender_that_the_primary_refuses_is_refused_at_mail(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert await client.say("MAIL FROM:<a@sender.test>") == "550 5.7.1 Not you"
        assert (await client.say("RCPT TO:<u@example.test>")).startswith("503")
        assert scene.told.refusals[0] == ("primary", "550 5.7.1 Not you")
        scene.sink.replies.clear()
        assert (await client.deliver(LETTER)).startswith("250")

    play(story, Sink(replies={"mail": "550 5.7.1 Not you"}))


def test_where_there_are_several_primaries_a_refusal_of_the_sender_is_said_at_rcpt(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert (await client.say("MAIL FROM:<a@sender.test>")).startswith("250")
        assert await client.say("RCPT TO:<u@example.test>") == "550 5.7.1 Not you"

    play(story, Sink(replies={"mail": "550 5.7.1 Not you"}), routes=TWO)


def test_a_refusal_of_data_is_handed_on(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        await client.say("RCPT TO:<u@example.test>")
        assert await client.say("DATA") == "451 4.7.1 Not now"
        assert await scene.queued() == []
        # For the primary the transaction is still open: it is told first.
        scene.sink.replies.clear()
        assert (await client.deliver(LETTER)).startswith("250")

    play(story, Sink(replies={"data": "451 4.7.1 Not now"}))


@pytest.mark.parametrize("said", ["550 5.7.1 Spam", "451 4.3.0 Try again", "552-5.3.4 Too\r\n552 5.3.4 large"])
def test_a_refusal_of_the_content_is_handed_on_and_nothing_is_queued(play: Play, said: str) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert await client.deliver(LETTER) == said
        assert await scene.queued() == []
        assert scene.told.proxied_messages == []
        assert scene.looks == []
        scene.sink.replies.clear()
        assert (await client.deliver(LETTER)).startswith("250")

    play(story, Sink(replies={"final": said}))


def test_each_recipient_gets_its_own_reply_and_only_those_taken_get_the_message(play: Play) -> None:
    def by_name(session: SinkSession, path: str) -> Answer:
        return "550 5.1.1 No such user" if path.startswith("bad") else None

    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        replies = [await client.say(f"RCPT TO:<{name}@example.test>") for name in ("one", "bad", "two")]
        assert [reply[:3] for reply in replies] == ["250", "550", "250"]
        assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert scene.sink.messages[0].forward_paths == ("one@example.test", "two@example.test")

    play(story, Sink(replies={"rcpt": by_name}))


def test_mail_for_other_domains_is_refused_by_us_and_never_offered(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        assert (await client.say("RCPT TO:<u@elsewhere.test>")).startswith("550 5.7.1")
        assert not any(command.startswith(b"RCPT") for command in scene.sink.commands)

    play(story)


def test_what_the_sender_announced_is_announced_to_the_primary(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<> BODY=8BITMIME SIZE=1000")
        await client.say("RCPT TO:<u@example.test>")
        assert b"MAIL FROM:<> SIZE=1700 BODY=8BITMIME" in scene.sink.commands

    play(story)


def test_what_the_sender_wants_to_be_told_is_for_the_primary_to_do(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test> RET=HDRS ENVID=QQ1")
        await client.say("RCPT TO:<u@example.test> NOTIFY=SUCCESS ORCPT=rfc822;u@list.test")
        assert scene.sink.commands[-2:] == [
            b"MAIL FROM:<a@sender.test> RET=HDRS ENVID=QQ1",
            b"RCPT TO:<u@example.test> NOTIFY=SUCCESS ORCPT=rfc822;u@list.test",
        ]

    play(story, Sink(extensions=(*EXTENSIONS, "DSN")))


def test_what_the_sender_wants_to_be_told_is_kept_where_the_primary_fails(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test> ENVID=QQ1")
        await client.say("RCPT TO:<u@example.test> NOTIFY=NEVER")
        await client.say("DATA")
        await client.send(LETTER + b".\r\n")
        assert "Queued as" in await client.reply()
        (message,) = await asyncio.wrap_future(scene.queue.list())
        assert (message.envid, message.recipients[0].notify) == ("QQ1", "NEVER")

    play(story, Sink(extensions=(*EXTENSIONS, "DSN"), replies={"final": Act.DROP}))


@pytest.mark.parametrize("is_offered", [True, False])
def test_internationalised_mail_is_for_primaries_that_offer_it(play: Play, is_offered: bool) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        reply = await client.say("MAIL FROM:<b\u00fc@sender.test> SMTPUTF8")
        if is_offered:
            assert reply.startswith("250")
            assert scene.sink.commands[-1] == "MAIL FROM:<b\u00fc@sender.test> SMTPUTF8".encode()
        else:
            assert reply.startswith("451 4.3.2")

    offered = EXTENSIONS if is_offered else tuple(each for each in EXTENSIONS if each != "SMTPUTF8")
    play(story, Sink(extensions=offered))


def test_a_sender_that_guesses_addresses_is_sent_away(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        replies = [await client.say(f"RCPT TO:<u{number}@example.test>") for number in range(20)]
        assert {reply[:3] for reply in replies} == {"550"}
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.reply() == ""
        client.vanish()
        await until(lambda: scene.sink.connections == 0)

    play(story, Sink(replies={"rcpt": "550 5.1.1 Unknown"}))


# Connections -------------------------------------------------------------------------------------------------------


def test_a_session_has_one_connection_for_all_its_transactions_and_takes_it_along(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        for _ in range(3):
            assert (await client.deliver(LETTER)).startswith("250")
        assert scene.sink.connection_count == 1
        assert (await client.say("QUIT")).startswith("221")
        await until(lambda: scene.sink.connections == 0)
        assert scene.sink.commands[-1] == b"QUIT"

    play(story)


def test_a_transaction_that_the_sender_left_unfinished_is_none_for_the_primary(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        await client.say("RCPT TO:<old@example.test>")
        assert (await client.say("RSET")).startswith("250")
        assert (await client.deliver(LETTER, "new@example.test")).startswith("250")
        assert [message.forward_paths for message in scene.sink.messages] == [("new@example.test",)]

    play(story)


def test_a_connection_that_ended_between_two_messages_is_made_anew_and_is_no_outage(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert (await client.deliver(LETTER)).startswith("250")
        scene.sink.replies["mail"] = in_turn("421 4.4.2 Idle for too long")
        assert (await client.deliver(LETTER)).startswith("250")
        assert (scene.sink.connection_count, scene.sink.message_count) == (2, 2)
        assert scene.looks == []
        assert await scene.queued() == []

    play(story)


def test_pipelined_commands_are_answered_in_order(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        envelope = b"MAIL FROM:<a@s.test>\r\nRCPT TO:<u@example.test>\r\nDATA\r\n"
        await client.send(envelope + b"n: 1\r\n\r\n.\r\n" + envelope + b"n: 2\r\n\r\n.\r\nQUIT\r\n")
        codes = [(await client.reply())[:3] for _ in range(9)]
        assert codes == ["250", "250", "354", "250", "250", "250", "354", "250", "221"]
        assert [message.content[-8:] for message in scene.sink.messages] == [b"n: 1\r\n\r\n", b"n: 2\r\n\r\n"]

    play(story)


# Which way ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.FALLING, State.DOWN, State.RISING, State.UNKNOWN])
def test_while_the_primary_is_anything_but_up_mail_is_queued(play: Play, state: State) -> None:
    async def story(scene: Scene) -> None:
        scene.states["main"] = state
        assert "Queued as" in await (await scene.client()).deliver(LETTER)
        assert scene.sink.connection_count == 0

    play(story)


@pytest.mark.parametrize("order", [("u@example.test", "v@open.test"), ("v@open.test", "u@example.test")])
def test_recipients_that_go_two_ways_are_wanted_in_two_transactions(play: Play, order: tuple[str, str]) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        assert (await client.say(f"RCPT TO:<{order[0]}>")).startswith("250")
        assert (await client.say(f"RCPT TO:<{order[1]}>")).startswith("452 4.5.3")
        assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert "v@open.test" not in (path for each in scene.sink.messages for path in each.forward_paths)
        assert len(await scene.queued()) + len(scene.sink.messages) == 1
        assert (await client.deliver(LETTER, order[1])).startswith("250")

    play(story, routes=TWO)


def test_recipients_of_two_primaries_that_are_both_played_through_are_wanted_in_two_transactions(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        assert (await client.say("RCPT TO:<u@example.test>")).startswith("250")
        assert (await client.say("RCPT TO:<v@second.test>")).startswith("452 4.5.3")

    play(story, routes=TWO)


def test_a_primary_that_took_no_recipient_does_not_keep_another_from_it(play: Play) -> None:
    def by_name(session: SinkSession, path: str) -> Answer:
        return "550 5.1.1 No such user" if path.startswith("bad") else None

    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        assert (await client.say("RCPT TO:<bad@example.test>")).startswith("550")
        assert (await client.say("RCPT TO:<v@second.test>")).startswith("250")
        assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert scene.sink.messages[0].forward_paths == ("v@second.test",)

    play(story, Sink(replies={"rcpt": by_name}), routes=TWO)


# The primary fails -------------------------------------------------------------------------------------------------


def test_a_primary_that_refuses_the_connection_has_its_mail_queued_and_is_looked_at(play: Play) -> None:
    async def story(scene: Scene) -> None:
        with closed_port() as port:
            scene.lead_to(port)
            assert "Queued as" in await (await scene.client()).deliver(LETTER)
        assert await scene.queued() == [b"Subject: hello\r\n\r\nhello\r\n.\r\n"]
        assert scene.looks == ["main"]
        assert scene.told.failures == [("main", False)]

    play(story)


@pytest.mark.parametrize("banner", ["421 4.3.2 Not now", "554 5.3.2 No service"])
def test_a_primary_that_greets_with_a_refusal_has_its_mail_queued(play: Play, banner: str) -> None:
    async def story(scene: Scene) -> None:
        assert "Queued as" in await (await scene.client()).deliver(LETTER)
        assert scene.looks == ["main"]

    play(story, Sink(replies={"banner": banner}))


def test_a_primary_that_is_slow_to_greet_has_its_mail_queued_and_is_looked_at(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert "Queued as" in await (await scene.client()).deliver(LETTER)
        assert scene.looks == ["main"]

    play(story, Sink(replies={"banner": Act.SILENT}), ready_seconds=0.1)


def test_a_primary_that_fails_in_the_middle_of_the_content_has_the_message_queued_once(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        line = b"x" * 76 + b"\r\n"
        await client.send(line * 1000)
        await until(lambda: scene.sink.connections == 1 and bool(scene.sink.commands))
        await scene.sink.stop()
        await client.send(line * 1000 + b".\r\n")
        assert "Queued as" in await client.reply()
        assert await scene.queued() == [line * 2000]
        assert await scene.ledger() == [LedgerEvent.ACCEPTED]
        assert set(scene.looks) == {"main"}

    play(story)


@pytest.mark.parametrize("act", [Act.DROP, Act.KEEP_THEN_DROP, Act.KEEP_THEN_SILENT, Act.SILENT, b"what?\r\n"])
def test_a_primary_that_fails_behind_the_last_octet_has_the_message_queued_as_ambiguous(play: Play, act: Act) -> None:
    async def story(scene: Scene) -> None:
        reply = await (await scene.client()).deliver(LETTER)
        (message,) = await asyncio.wrap_future(scene.queue.list())
        assert reply == f"250 2.0.0 Queued as {message.id}"
        assert await scene.ledger() == [LedgerEvent.ACCEPTED, LedgerEvent.AMBIGUOUS]
        assert scene.told.failures == [("main", True)]
        assert scene.looks == ["main"]
        assert all(message.id.encode() in each.content for each in scene.sink.messages)

    play(story, Sink(replies={"final": act}), timeouts=Timeouts(5, 5, 5, 5, 5, 0.2, 1))


def test_the_next_transaction_after_a_failure_is_played_through_again(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert "Queued as" in await client.deliver(LETTER)
        scene.sink.replies.clear()
        assert await client.deliver(LETTER) == "250 2.0.0 Ok: kept as 1"
        assert len(await scene.queued()) == 1

    play(story, Sink(replies={"final": Act.DROP}))


# What the primary never sees ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\0"])
def test_a_fake_end_of_data_reaches_the_primary_neither_as_an_end_nor_as_content(play: Play, end: bytes) -> None:
    smuggled = b"MAIL FROM:<admin@example.test>\r\nRCPT TO:<u@example.test>\r\nDATA\r\nevil\r\n.\r\n"

    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        pending: list[SinkSession] = list(scene.sink._sessions)
        await client.send(b"Subject: x\r\n\r\nfirst" + end + smuggled)
        assert (await client.reply()).startswith("554 5.6.0")
        assert await client.reply() == ""
        await until(lambda: scene.sink.connections == 0)
        assert scene.sink.messages == []
        assert b"evil" not in pending[0].pending
        assert [command[:4] for command in scene.sink.commands] == [b"EHLO", b"MAIL", b"RCPT", b"DATA"]
        assert await scene.queued() == []
        assert scene.looks == []

    play(story)


def test_content_that_is_too_large_is_cut_off_before_its_end(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert (await client.deliver((b"x" * 98 + b"\r\n") * 20_000)).startswith("552 5.3.4")
        assert scene.sink.messages == []
        assert scene.looks == []
        assert (await client.deliver(LETTER)).startswith("250")
        assert len(scene.sink.messages) == 1

    play(story, max_message_size=1_000_000)


def test_content_that_goes_in_circles_is_cut_off_before_its_end(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert (await (await scene.client()).deliver(b"Received: x\r\n" * 51 + b"\r\n")).startswith("554 5.4.6")
        await until(lambda: scene.sink.connections == 0)
        assert scene.sink.messages == []

    play(story)


def test_a_sender_that_goes_within_its_content_leaves_nothing_anywhere(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        await client.send(b"n: 1\r\n\r\nhalf")
        client.vanish()
        await until(lambda: scene.sink.connections == 0)
        assert scene.sink.messages == []
        assert await scene.queued() == []
        assert scene.looks == []

    play(story)


def test_a_sender_that_goes_while_the_primary_thinks_is_no_failure_of_the_primary(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        await client.send(b"RCPT TO:<u@example.test>\r\n")
        await until(lambda: any(each.startswith(b"RCPT") for each in scene.sink.commands))
        client.vanish()
        await until(lambda: scene.sink.connections == 0)
        assert scene.looks == []
        assert scene.told.failures == []

    play(story, Sink(replies={"rcpt": Act.SILENT}))


def test_a_sender_that_half_closes_behind_its_final_dot_gets_the_primarys_reply(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        await client.send(LETTER + b".\r\n")
        client.half_close()
        assert await client.reply() == "250 2.0.0 Ok: kept as 1"
        assert await client.reply() == ""

    play(story)


def test_a_sender_that_is_gone_before_the_primary_answers_has_nothing_queued_for_it(play: Play) -> None:
    waiting: list[SinkSession] = []

    def hesitate(session: SinkSession, _: str) -> Answer:
        waiting.append(session)
        return b""

    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        await client.send(LETTER + b".\r\n")
        await until(lambda: bool(waiting))
        client.vanish()
        await until(lambda: scene.listener.sessions == 0)
        waiting[0].say("250 2.0.0 Taken after all")
        await until(lambda: bool(scene.told.proxied_messages))
        await until(lambda: scene.sink.connections == 0)
        assert scene.sink.commands[-1] == b"QUIT"
        assert await scene.queued() == []

    play(story, Sink(replies={"final": hesitate}))


def test_eight_bit_mail_for_a_primary_without_8bitmime_is_left_to_the_sender(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert (await client.say("MAIL FROM:<a@sender.test> BODY=8BITMIME")).startswith("451 4.3.2")
        assert (await client.deliver(b"Subject: \xe4\r\n\r\n")).startswith("451 4.3.2")
        assert (await client.deliver(LETTER)).startswith("250")
        assert len(scene.sink.messages) == 1
        assert await scene.queued() == []
        assert scene.looks == []

    play(story, Sink(extensions=tuple(each for each in EXTENSIONS if each != "8BITMIME")))


# Large mail --------------------------------------------------------------------------------------------------------


def test_large_content_arrives_in_order_with_every_dot(play: Play) -> None:
    content = b"".join(b"%07d.\r\n..\r\n.\r\n" % number for number in range(200_000))
    stuffed = content.replace(b"\r\n.", b"\r\n..")

    async def story(scene: Scene) -> None:
        assert (await (await scene.client()).deliver(stuffed)).startswith("250")
        assert scene.sink.messages[0].content.endswith(b"\r\n" + content)

    play(story)


def test_a_primary_that_is_slow_to_take_content_slows_the_sender_down(play: Play) -> None:
    """Nothing gathers: what the sender cannot get rid of stays with it."""
    stopped: list[SinkSession] = []

    def stop(session: SinkSession, _: str) -> Answer:
        session.stop_reading()
        stopped.append(session)
        return None

    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        content = (b"x" * 998 + b"\r\n") * 40_000
        client.push(content + b".\r\n")
        await until(lambda: bool(stopped))
        before = -1
        while client.unsent_octets != before:
            before = client.unsent_octets
            await asyncio.sleep(0.2)
        # The rest is in the kernel's buffers, which on loopback take a few megabytes.
        assert before > len(content) / 2
        stopped[0]._transport.resume_reading()  # type: ignore[union-attr]
        assert (await client.reply()).startswith("250")
        assert scene.sink.messages[0].content.endswith(content)

    play(story, Sink(replies={"data": stop}))


@pytest.mark.parametrize(
    ("header", "expected"), [(b"Received: x\r\n" * 51, "554 5.4.6"), (b"Subject: x\r\n", "250 2.0.0 Queued")]
)
def test_the_end_of_content_is_answered_even_if_the_primary_has_stopped_just_before_it(
    play: Play, header: bytes, expected: str
) -> None:
    def stop(session: SinkSession, _: str) -> Answer:
        assert session._transport is not None
        session._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        session.stop_reading()
        return None

    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        (session,) = scene.listener._sessions
        assert session._proxied is not None
        assert session._proxied._through is not None
        # So little room that one piece, which is all there is, fills it.
        wire = session._proxied._through._pipeline._transport
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        wire.set_write_buffer_limits(0)
        await client.send(header + b"\r\n" + (b"x" * 998 + b"\r\n") * 60 + b".\r\n")
        assert (await client.reply()).startswith(expected)
        assert (await client.say("NOOP")).startswith("250")

    play(story, Sink(replies={"data": stop}), timeouts=Timeouts(5, 5, 5, 5, 0.3, 0.6, 1))


@pytest.mark.parametrize(("final", "expected"), [(None, "250 2.0.0 Ok"), (Act.DROP, "451 4.3.0")])
def test_where_no_copy_can_be_kept_the_primary_alone_can_take_the_message(
    play: Play, tmp_path: Path, final: Answer, expected: str
) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert (await client.deliver((b"x" * 998 + b"\r\n") * 3000)).startswith(expected)
        assert await scene.queued() == []
        assert [type(error) for error in scene.told.troubles] == ([FileNotFoundError] if final else [])
        scene.sink.replies.clear()
        assert (await client.deliver(LETTER)).startswith("250 2.0.0 Ok")

    play(story, Sink(replies={"final": final}), spool_directory=tmp_path / "missing", is_troubled=True)


def test_where_no_copy_can_be_kept_the_primary_gets_nothing_that_is_refused_all_the_same(
    play: Play, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        content = (b"x" * 998 + b"\r\n") * 3000
        assert (await (await scene.client()).deliver(content)).startswith("552 5.3.4")
        assert scene.sink.messages == []

    play(story, spool_directory=tmp_path / "missing", max_message_size=2_000_000, is_troubled=True)


def test_a_stop_of_the_service_lets_the_message_in_hand_be_answered(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        stopping = asyncio.create_task(scene.listener.stop(5.0))
        await asyncio.sleep(0)
        await client.send(LETTER + b".\r\n")
        assert await client.reply() == "250 2.0.0 Ok: kept as 1"
        assert (await client.reply()).startswith("421 4.3.2")
        await stopping

    play(story)


def test_a_primary_in_accept_mode_is_not_asked(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert "Queued as" in await (await scene.client()).deliver(LETTER)
        assert scene.sink.connection_count == 0

    play(story, routes={"example.test": Route("main", WhenUp.ACCEPT)})
