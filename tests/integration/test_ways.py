"""The ways to a primary are shared: no session keeps one that it does not use, and no network has them all."""

from __future__ import annotations

import asyncio

from fallback_mx.smtp.sink import Answer, Sink, SinkSession
from fallback_mx.smtp.steps import Timeouts
from tests.fakes.played import LETTER, Client, Play, Scene, until

BUSY = "451 4.3.2 The primary mail server is up, please use it"
MAIL = "MAIL FROM:<a@sender.test>"
RCPT = "RCPT TO:<u@example.test>"


async def begun(scene: Scene, address: str = "127.0.0.1") -> Client:
    client = await scene.client(address)
    assert (await client.say(MAIL)).startswith("250")
    return client


def test_a_session_between_two_transactions_gives_its_connection_up_in_order(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert (await client.deliver(LETTER)).startswith("250")
        await until(lambda: scene.sink.connections == 0)
        assert scene.sink.commands[-1] == b"QUIT"
        assert (await client.deliver(LETTER)).startswith("250 2.0.0 Ok")
        assert (scene.sink.connection_count, scene.looks) == (2, [])

    play(story, rest_seconds=0.05)


def test_a_transaction_that_is_dropped_or_refused_is_over_too(play: Play) -> None:
    async def story(scene: Scene) -> None:
        for last in ("RSET", "EHLO client.test"):
            client = await begun(scene)
            assert (await client.say(last)).startswith("250")
            await until(lambda: scene.sink.connections == 0)
        client = await begun(scene)
        assert (await client.say(RCPT)).startswith("250")
        scene.sink.replies["data"] = "451 4.7.1 Not now"
        assert (await client.say("DATA")).startswith("451")
        await until(lambda: scene.sink.connections == 0)

    play(story, rest_seconds=0.05)


def test_another_session_has_the_connection_of_one_between_two_transactions_at_once(play: Play) -> None:
    async def story(scene: Scene) -> None:
        first, second = await scene.client(), await scene.client("127.0.1.1")
        for _ in range(3):
            for client in (first, second):
                assert (await client.deliver(LETTER)).startswith("250")
        assert scene.sink.most_connections == 1
        assert scene.sink.commands.count(b"QUIT") == 5
        assert await scene.queued() == []

    play(story, max_connections=1, rest_seconds=1000)


def test_no_more_connections_are_made_than_the_primary_may_be_given(play: Play) -> None:
    async def story(scene: Scene) -> None:
        first, second = await begun(scene), await scene.client("127.0.1.1")
        assert await second.say(MAIL) == BUSY
        assert (await first.say(RCPT)).startswith("250")
        await first.say("QUIT")
        await until(lambda: scene.sink.connections == 0)
        assert (await second.deliver(LETTER)).startswith("250")
        assert scene.sink.most_connections == 1
        assert await scene.queued() == []

    play(story, max_connections=1)


def test_a_network_that_has_half_of_the_ways_gets_no_more_and_others_do(play: Play) -> None:
    async def story(scene: Scene) -> None:
        held = [await begun(scene, f"127.0.0.{number}") for number in (1, 2)]
        greedy = await scene.client("127.0.0.3")
        assert await greedy.say(MAIL) == BUSY
        for _ in range(2):
            await begun(scene, "127.0.1.1")
        assert scene.sink.most_connections == 4
        assert (await held[0].say("RSET")).startswith("250")
        # Its own idle one it may have.
        assert (await greedy.say(MAIL)).startswith("250")

    play(story, max_connections=4, rest_seconds=1000)


def test_a_sender_that_stalls_in_its_envelope_loses_its_way_and_does_not_notice(play: Play) -> None:
    async def story(scene: Scene) -> None:
        slow = await begun(scene)
        assert (await slow.say(RCPT)).startswith("250")
        await asyncio.sleep(0.1)
        other = await scene.client("127.0.1.1")
        assert (await other.deliver(LETTER)).startswith("250")
        assert (await slow.say("RCPT TO:<v@example.test>")).startswith("250")
        assert (await slow.say("DATA")).startswith("354")
        await slow.send(LETTER + b".\r\n")
        assert (await slow.reply()).startswith("250 2.0.0 Ok")
        assert scene.sink.messages[1].forward_paths == ("u@example.test", "v@example.test")
        assert (scene.sink.most_connections, scene.looks) == (1, [])

    play(story, max_connections=1, stalled_seconds=0.05)


def test_a_sender_that_has_lost_its_way_and_finds_none_is_told_so_and_may_go_on_later(play: Play) -> None:
    async def story(scene: Scene) -> None:
        slow = await begun(scene)
        await asyncio.sleep(0.1)
        other = await begun(scene, "127.0.1.1")
        assert await slow.say(RCPT) == BUSY
        assert (await other.say("QUIT")).startswith("221")
        await until(lambda: scene.sink.connections == 0)
        assert (await slow.say(RCPT)).startswith("250")
        assert await scene.queued() == []

    play(story, max_connections=1, stalled_seconds=0.05)


def test_a_sender_that_makes_progress_keeps_its_way(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await begun(scene)
        other = await scene.client("127.0.1.1")
        assert await other.say(MAIL) == BUSY
        assert (await client.say(RCPT)).startswith("250")
        assert scene.sink.connection_count == 1

    play(story, max_connections=1)


def test_refused_recipients_are_no_progress(play: Play) -> None:
    async def story(scene: Scene) -> None:
        guesser = await begun(scene)
        for number in range(4):
            await asyncio.sleep(0.05)
            assert (await guesser.say(f"RCPT TO:<x{number}@example.test>")).startswith("550")
        other = await scene.client("127.0.1.1")
        assert (await other.say(MAIL)).startswith("250")

    play(story, Sink(replies={"rcpt": "550 5.1.1 Unknown"}), max_connections=1, stalled_seconds=0.1)


def test_a_sender_that_stalls_in_its_content_is_told_at_its_end_and_nothing_is_queued(play: Play) -> None:
    async def story(scene: Scene) -> None:
        slow = await (await scene.client()).to_data()
        await slow.send(b"Subject: slow\r\n")
        await asyncio.sleep(0.1)
        other = await scene.client("127.0.1.1")
        assert (await other.deliver(LETTER)).startswith("250")
        await slow.send(b"\r\nrest\r\n.\r\n")
        assert (await slow.reply()).startswith("451 4.3.2 Others wait")
        assert [message.content[-7:] for message in scene.sink.messages] == [b"hello\r\n"]
        assert (await scene.queued(), scene.looks) == ([], [])
        assert (await slow.deliver(LETTER)).startswith("250 2.0.0 Ok")

    play(story, max_connections=1, stalled_seconds=0.05)


def test_a_way_is_free_again_when_its_session_goes(play: Play) -> None:
    async def story(scene: Scene) -> None:
        for _ in range(3):
            client = await begun(scene)
            client.vanish()
            await until(lambda: scene.listener.sessions == 0)
        assert scene.sink.most_connections == 1

    play(story, max_connections=1)


def test_one_that_went_while_its_connection_was_opened_holds_nothing(play: Play) -> None:
    greeted: list[SinkSession] = []

    def hesitate(session: SinkSession, _: str) -> Answer:
        greeted.append(session)
        return b""

    async def story(scene: Scene) -> None:
        client = await scene.client()
        await client.send(MAIL.encode() + b"\r\n")
        await until(lambda: bool(greeted))
        client.vanish()
        await until(lambda: scene.listener.sessions == 0)
        assert await (await scene.client("127.0.1.1")).say(MAIL) == BUSY
        scene.sink.replies.clear()
        greeted[0].say("220 sink.test at last")
        await until(lambda: scene.sink.connections == 0)
        await begun(scene, "127.0.1.1")
        assert scene.sink.most_connections == 1

    play(story, Sink(replies={"banner": hesitate}), max_connections=1)


async def taken_over_unread(scene: Scene) -> tuple[Client, SinkSession]:
    """A client that waits for the connection of another, and the primary's end of that, where nothing is read."""
    first, second = await scene.client(), await scene.client("127.0.1.1")
    assert (await first.deliver(LETTER)).startswith("250")
    (resting,) = scene.sink._sessions
    resting.stop_reading()
    await second.send(MAIL.encode() + b"\r\n")
    return second, resting


def test_a_connection_that_was_taken_away_is_closed_before_the_next_is_opened(play: Play) -> None:
    async def story(scene: Scene) -> None:
        second, resting = await taken_over_unread(scene)
        await asyncio.sleep(0.2)
        assert scene.sink.connection_count == 1
        assert resting._transport is not None
        resting._transport.resume_reading()
        assert (await second.reply()).startswith("250")
        assert scene.sink.most_connections == 1

    play(story, max_connections=1, rest_seconds=1000, timeouts=Timeouts(5, 5, 5, 5, 5, 5, quit=100))


def test_a_primary_that_does_not_say_goodbye_is_not_waited_for_for_ever(play: Play) -> None:
    async def story(scene: Scene) -> None:
        second, _ = await taken_over_unread(scene)
        assert (await second.reply()).startswith("250")

    play(story, max_connections=1, rest_seconds=1000, timeouts=Timeouts(5, 5, 5, 5, 5, 5, quit=0.2))
