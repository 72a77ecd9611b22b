"""No sender can make its primary fail: what a played transaction loses is said again, and what the primary says counts.

A sender can wait until the primary closes an idle connection, and do what its policy answers with 421 or with a close.
None of that may get its mail into the queue, past what the primary says of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from fallback_mx.smtp.sink import Act, Answer, Sink, SinkSession
from fallback_mx.smtp.steps import Timeouts
from mxqueue import LedgerEvent
from tests.fakes.played import LETTER, TWO, Client, Play, Scene, in_turn, until

SHOWN_OUT = "451 4.3.2 The primary mail server has ended the connection, please try again later"
GOODBYES: list[Answer] = [Act.DROP, "421 4.7.0 Not from you", b"\xff\xff\r\n", "450 4.4.2 Idle\r\n450 4.4.2 Idle"]
BRIEF = Timeouts(5, 5, 0.2, 0.2, 5, 5, 1)
LINE = b"x" * 76 + b"\r\n"


async def close_idle(scene: Scene, farewell: bytes = b"") -> None:
    """The primary ends its connections; what it says before has come here by then."""
    for session in list(scene.sink._sessions):
        if farewell:
            session.say(farewell)
        session.cut()
    await until(lambda: scene.sink.connections == 0)
    await asyncio.sleep(0.05)


async def opened(scene: Scene, *recipients: str) -> Client:
    client = await scene.client()
    assert (await client.say("MAIL FROM:<a@sender.test>")).startswith("250")
    for recipient in recipients:
        assert (await client.say(f"RCPT TO:<{recipient}>")).startswith("250")
    return client


# Before the content ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 Idle for too long\r\n", b"451 4.4.2 Timeout\r\n"])
@pytest.mark.parametrize("taken", [(), ("one@example.test", "two@example.test")])
def test_a_connection_that_the_primary_closes_while_the_sender_waits_is_made_anew_unnoticed(
    play: Play, taken: tuple[str, ...], farewell: bytes
) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene, *taken)
        await close_idle(scene, farewell)
        assert await client.say("RCPT TO:<last@example.test>") == "250 2.1.5 Ok"
        assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert await client.reply() == "250 2.0.0 Ok: kept as 1"
        assert scene.sink.messages[0].forward_paths == (*taken, "last@example.test")
        assert scene.sink.connection_count == 2
        assert (scene.looks, await scene.queued()) == ([], [])

    play(story)


def test_one_that_is_closed_just_before_data_is_made_anew_too(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene, "one@example.test")
        await close_idle(scene)
        assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert await client.reply() == "250 2.0.0 Ok: kept as 1"
        assert scene.sink.message_count == 1
        assert await scene.queued() == []

    play(story)


@pytest.mark.parametrize("goodbye", [*GOODBYES, Act.SILENT])
@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
def test_what_the_primary_closes_on_again_is_told_to_the_sender_and_not_queued(
    play: Play, step: str, goodbye: Answer
) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        said = [await client.say("MAIL FROM:<a@sender.test>")]
        if step != "mail":
            said.append(await client.say("RCPT TO:<u@example.test>"))
        if step == "data":
            said.append(await client.say("DATA"))
        assert said[-1] == (goodbye.split("\r\n")[0] if isinstance(goodbye, str) and goodbye[:2] == "45" else SHOWN_OUT)
        assert await scene.queued() == []
        assert scene.told.failures == []
        scene.sink.replies.clear()
        await client.say("RSET")
        assert (await client.deliver(LETTER)).startswith("250")

    play(story, Sink(replies={step: goodbye}), timeouts=BRIEF)


@pytest.mark.parametrize("goodbye", ["421 4.7.0 Not from you", Act.DROP])
def test_a_primary_that_only_says_goodbye_is_looked_at_and_no_more(play: Play, goodbye: Answer) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene, "good@example.test")
        scene.sink.replies["rcpt"] = lambda session, path: goodbye if path.startswith("bad") else None
        assert await client.say("RCPT TO:<bad@example.test>") == SHOWN_OUT
        assert scene.looks == ["main"]
        assert scene.sink.connection_count == 2

    play(story)


def test_a_sender_that_was_shown_out_gets_nothing_more_in_this_transaction(play: Play) -> None:
    """Whoever could make the primary hang up would otherwise get past what it says of recipients."""

    async def story(scene: Scene) -> None:
        client = await opened(scene, "good@example.test")
        scene.sink.replies["rcpt"] = lambda session, path: None if path.startswith("good") else "421 4.7.0 Enough"
        for name in ("worse", "worst"):
            assert await client.say(f"RCPT TO:<{name}@example.test>") == SHOWN_OUT
        assert await client.say("DATA") == SHOWN_OUT
        assert (await client.say("DATA")).startswith("503")
        assert (await scene.queued(), scene.sink.messages) == ([], [])
        assert (await client.deliver(LETTER, "good@example.test")).startswith("250 2.0.0 Ok")

    play(story)


@pytest.mark.parametrize("goodbye", GOODBYES[:3])
@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
def test_a_goodbye_that_is_not_said_again_was_none(play: Play, step: str, goodbye: Answer) -> None:
    async def story(scene: Scene) -> None:
        assert await (await scene.client()).deliver(LETTER) == "250 2.0.0 Ok: kept as 1"
        assert (scene.sink.connection_count, scene.sink.message_count) == (2, 1)
        assert (scene.looks, await scene.queued()) == ([], [])

    play(story, Sink(replies={step: in_turn(goodbye)}))


def test_what_the_primary_says_the_second_time_is_what_the_sender_is_told(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene)
        assert await client.say("RCPT TO:<u@example.test>") == "550 5.1.1 Unknown"

    play(story, Sink(replies={"rcpt": in_turn(Act.DROP, "550 5.1.1 Unknown")}))


def test_a_transaction_is_said_again_once(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene, "one@example.test")
        await close_idle(scene)
        assert (await client.say("RCPT TO:<two@example.test>")).startswith("250")
        await close_idle(scene)
        assert await client.say("RCPT TO:<three@example.test>") == SHOWN_OUT
        assert await client.say("DATA") == SHOWN_OUT
        assert scene.sink.connection_count == 2
        assert await scene.queued() == []
        assert (await client.deliver(LETTER)).startswith("250")

    play(story)


@pytest.mark.parametrize("refused", ["550 5.7.1 Not any more", "421 4.7.0 Not any more", Act.DROP])
@pytest.mark.parametrize("step", ["mail", "rcpt"])
def test_a_primary_that_no_longer_takes_what_it_took_ends_the_transaction(
    play: Play, step: str, refused: Answer
) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene, "one@example.test")
        await close_idle(scene)
        scene.sink.replies[step] = in_turn(refused)
        assert await client.say("DATA") == SHOWN_OUT
        assert (await scene.queued(), scene.sink.messages) == ([], [])
        assert (await client.deliver(LETTER)).startswith("250 2.0.0 Ok")

    play(story)


@pytest.mark.parametrize("step", ["RCPT TO:<two@example.test>", "DATA"])
def test_a_primary_that_cannot_be_reached_anew_has_failed_and_what_it_took_is_queued(play: Play, step: str) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene, "one@example.test")
        await scene.sink.stop()
        reply = await client.say(step)
        assert reply[:3] == ("354" if step == "DATA" else "250")
        if step != "DATA":
            assert (await client.say("RCPT TO:<three@example.test>")) == "250 2.1.5 Recipient ok"
            assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert "Queued as" in await client.reply()
        (message,) = await asyncio.wrap_future(scene.queue.list())
        names = ["one"] if step == "DATA" else ["one", "two", "three"]
        assert [each.forward_path.partition("@")[0] for each in message.recipients] == names
        assert scene.told.failures == [("main", False)]
        assert set(scene.looks) == {"main"}
        assert await scene.ledger() == [LedgerEvent.ACCEPTED] * len(names)

    play(story)


def test_a_primary_that_greets_with_a_refusal_the_second_time_has_failed(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene, "one@example.test")
        scene.sink.replies["banner"] = "421 4.3.2 Stopping"
        await close_idle(scene)
        assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert "Queued as" in await client.reply()

    play(story)


def test_for_a_sender_that_has_gone_nothing_is_said_again(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await opened(scene)
        await client.send(b"RCPT TO:<u@example.test>\r\n")
        await until(lambda: any(each.startswith(b"RCPT") for each in scene.sink.commands))
        client.vanish()
        await until(lambda: scene.sink.connections == 0 and scene.listener.sessions == 0)
        assert scene.sink.connection_count == 1
        assert (scene.looks, scene.told.failures) == ([], [])

    play(story, Sink(replies={"rcpt": Act.SILENT}))


def test_a_recipient_of_another_primary_is_asked_of_that_one(play: Play) -> None:
    other = Sink()

    async def story(scene: Scene) -> None:
        await other.start()
        scene.lead_to(scene.sink.port, other.port)
        client = await scene.client()
        await client.say("MAIL FROM:<a@sender.test>")
        assert (await client.say("RCPT TO:<u@example.test>")).startswith("550")
        assert (await client.say("RCPT TO:<v@second.test>")).startswith("250")
        assert (await client.say("DATA")).startswith("354")
        await client.send(LETTER + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert [each.forward_paths for each in other.messages] == [("v@second.test",)]
        assert b"RCPT TO:<v@second.test>" not in scene.sink.commands
        await other.stop()

    play(story, Sink(replies={"rcpt": "550 5.1.1 Unknown"}), routes=TWO)


# Within the content ------------------------------------------------------------------------------------------------


LOOPS = pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop])


class Filter:
    """A primary that reads content until it has seen enough, says its word, and closes without reading the rest."""

    def __init__(self, word: bytes) -> None:
        self.word = word
        self.said = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 filter.test ESMTP\r\n")
        while line := await reader.readline():
            if line == b"DATA\r\n":
                writer.write(b"354 Go on\r\n")
                await reader.readexactly(500)
                writer.write(self.word)
                # With what was not read this is a reset.
                writer.close()
                self.said.set()
                return
            writer.write(b"250 2.0.0 Ok\r\n")

    @contextlib.asynccontextmanager
    async def playing(self, scene: Scene) -> AsyncIterator[Client]:
        """A client of whose mail this is the primary."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.talk(reader, writer)
            writer.close()

        talks: list[asyncio.Task[None]] = []
        server = await asyncio.start_server(
            lambda *both: talks.append(asyncio.ensure_future(serve(*both))), "127.0.0.1"
        )
        scene.lead_to(server.sockets[0].getsockname()[1])
        client = await scene.client()
        try:
            yield client
        finally:
            client.vanish()
            server.close()
            await asyncio.gather(*talks)
            await asyncio.sleep(0.01)


@LOOPS
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (b"554 5.7.1 Spam\r\n", "554 5.7.1 Spam"),
        (b"550-5.7.1 Virus\r\n550 5.7.1 found\r\n", "550-5.7.1 Virus\r\n550 5.7.1 found"),
        (b"452 4.3.1 Full\r\n", "452 4.3.1 Full"),
        (b"421 4.3.2 Stopping\r\n", SHOWN_OUT),
    ],
)
def test_a_refusal_in_the_middle_of_the_content_is_the_answer_to_it(
    play: Play, loop_factory: Callable[[], asyncio.AbstractEventLoop], word: bytes, expected: str
) -> None:
    async def story(scene: Scene) -> None:
        primary = Filter(word)
        async with primary.playing(scene) as client:
            await client.to_data()
            await client.send(LINE * 10)
            await primary.said.wait()
            await client.send(LINE * 20_000 + b".\r\n")
            assert await client.reply() == expected
            assert await scene.queued() == []
            assert scene.listener.content_memory.used == 0
            assert (await client.say("NOOP")).startswith("250")

    play(story, loop_factory=loop_factory)


@LOOPS
def test_a_refusal_that_comes_with_a_reset_while_content_is_being_sent_is_heard(
    play: Play, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Where our writing meets the reset first the reply would be lost unread, and the message queued."""

    async def story(scene: Scene) -> None:
        primary = Filter(b"554 5.7.1 Spam\r\n")
        async with primary.playing(scene) as client:
            for _ in range(10):
                await client.to_data()
                client.push(LINE * 20_000 + b".\r\n")
                assert await client.reply() == "554 5.7.1 Spam"
            assert await scene.queued() == []

    play(story, loop_factory=loop_factory, max_connections=2)


@pytest.mark.parametrize("word", [b"", b"250 2.0.0 Taken\r\n", b"354 Go on\r\n", b"what?\r\n"])
def test_a_primary_that_closes_within_the_content_and_is_there_has_not_failed(play: Play, word: bytes) -> None:
    async def story(scene: Scene) -> None:
        primary = Filter(word)
        async with primary.playing(scene) as client:
            await client.to_data()
            await client.send(LINE * 10)
            await primary.said.wait()
            await client.send(LINE * 1000 + b".\r\n")
            assert await client.reply() == SHOWN_OUT
            assert (await scene.queued(), scene.told.failures) == ([], [])
            assert set(scene.looks) == {"main"}

    play(story)


def test_a_primary_that_takes_no_more_content_and_is_there_has_not_failed(play: Play) -> None:
    def stop(session: SinkSession, _: str) -> Answer:
        session.stop_reading()
        return None

    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert await client.deliver((b"x" * 998 + b"\r\n") * 20_000) == SHOWN_OUT
        assert await scene.queued() == []
        assert (await client.deliver(LETTER)).startswith("250 2.0.0 Ok")

    play(story, Sink(replies={"data": in_turn_acts(stop)}), timeouts=Timeouts(5, 5, 5, 5, 0.3, 5, 1))


def in_turn_acts(*acts: Callable[[SinkSession, str], Answer]) -> Callable[[SinkSession, str], Answer]:
    left = list(acts)
    return lambda session, argument: left.pop(0)(session, argument) if left else None


@pytest.mark.parametrize(
    ("content", "expected"), [(b"Received: x\r\n" * 60 + b"\r\n", "554 5.4.6"), (LINE * 20_000, "552 5.3.4")]
)
def test_our_own_refusal_of_content_goes_before_the_primarys(play: Play, content: bytes, expected: str) -> None:
    async def story(scene: Scene) -> None:
        primary = Filter(b"452 4.3.1 Full\r\n")
        async with primary.playing(scene) as client:
            await client.to_data()
            await client.send(content[:700])
            await primary.said.wait()
            await client.send(content[700:] + b".\r\n")
            assert (await client.reply()).startswith(expected)

    play(story, max_message_size=1_000_000)


# The end of data ---------------------------------------------------------------------------------------------------


def test_a_421_to_the_end_of_data_is_a_reply_the_sender_keeps_the_message(play: Play) -> None:
    async def story(scene: Scene) -> None:
        client = await scene.client()
        assert await client.deliver(LETTER) == SHOWN_OUT
        assert (await scene.queued(), scene.told.failures) == ([], [])
        assert scene.looks == ["main"]
        assert (await client.deliver(LETTER)).startswith("250 2.0.0 Ok")

    play(story, Sink(replies={"final": in_turn("421 4.3.2 Stopping")}))


# A client that goes ------------------------------------------------------------------------------------------------


@LOOPS
def test_a_client_that_resets_while_the_primary_is_slow_to_take_content_is_noticed_at_once(
    play: Play, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    stopped: list[SinkSession] = []

    def stop(session: SinkSession, _: str) -> Answer:
        session.stop_reading()
        stopped.append(session)
        return None

    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        client.push((b"x" * 998 + b"\r\n") * 40_000)
        (session,) = scene.listener._sessions
        await until(lambda: bool(stopped) and not session._is_reading)
        client.vanish()
        await until(lambda: scene.listener.sessions == 0)
        assert stopped[0]._transport is not None
        stopped[0]._transport.resume_reading()
        await until(lambda: scene.sink.connections == 0)
        assert (scene.sink.messages, await scene.queued(), scene.looks) == ([], [], [])

    never = Timeouts(5, 5, 5, 5, 1000, 5, 1)
    play(story, Sink(replies={"data": stop}), loop_factory=loop_factory, timeouts=never)


def test_a_client_that_only_sends_no_more_while_the_primary_is_slow_gets_its_answer(play: Play) -> None:
    stopped: list[SinkSession] = []

    def stop(session: SinkSession, _: str) -> Answer:
        session.stop_reading()
        stopped.append(session)
        return None

    async def story(scene: Scene) -> None:
        client = await (await scene.client()).to_data()
        (session,) = scene.listener._sessions
        client.push((b"x" * 998 + b"\r\n") * 20_000 + b".\r\n")
        await until(lambda: bool(stopped) and not session._is_reading)
        client.half_close()
        assert stopped[0]._transport is not None
        stopped[0]._transport.resume_reading()
        assert (await client.reply()).startswith("250 2.0.0 Ok")

    play(story, Sink(replies={"data": stop}))
