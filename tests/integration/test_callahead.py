"""Calling ahead against a scripted primary behind real sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from fallback_mx.rules.backoff import Backoff
from fallback_mx.rules.recipients import Verdict
from fallback_mx.smtp.callahead import TIMEOUTS, Answers, CallAhead, CallAheadSettings
from fallback_mx.smtp.dial import DialSettings, Line, open_first
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import EXTENSIONS, Act, Sink, SinkSession
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy

NOBODY = "550 5.1.1 no such user"
HANGS_SECONDS = 20
QUICK = CallAheadSettings(per_second=1000.0, burst=1000.0)
PEOPLE = frozenset({"bob@example.org", "alice@example.org"})


def people(session: SinkSession, path: str) -> str:
    return "250 2.1.5 Ok" if path in PEOPLE else NOBODY


def caller(sink: Sink, settings: CallAheadSettings = QUICK, timeouts: Timeouts = TIMEOUTS) -> CallAhead:
    dial = DialSettings(hello_name="mx2.test", tls=TlsPolicy.NONE, timeouts=timeouts)

    async def connect() -> Line:
        return await open_first([NextHop("127.0.0.1", sink.port)], dial)

    chances = itertools.cycle([0.1, 0.35, 0.6, 0.85])
    return CallAhead(connect, lambda: next(chances), settings)


def with_sink(
    work: Callable[[Sink, CallAhead], Awaitable[Any]],
    settings: CallAheadSettings = QUICK,
    timeouts: Timeouts = TIMEOUTS,
    **script: Any,
) -> Any:
    extensions = script.pop("extensions", EXTENSIONS)

    async def run() -> Any:
        sink = Sink(replies={"rcpt": people, **script}, extensions=extensions)
        await sink.start()
        asking = caller(sink, settings, timeouts)
        try:
            async with asyncio.timeout(HANGS_SECONDS):
                return await work(sink, asking)
        finally:
            await asking.close()
            await sink.stop()

    return asyncio.run(run())


def ask(local: str = "bob", known: Verdict = Verdict.BAD, **script: Any) -> tuple[Answers, Sink]:
    async def work(sink: Sink, asking: CallAhead) -> tuple[Answers, Sink]:
        return await asking.ask(local, "example.org", known), sink

    answers, sink = with_sink(work, **script)
    return answers, sink


# What is said ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [EXTENSIONS, ("8BITMIME",)], ids=["pipelined", "in turn"])
def test_a_recipient_is_asked_about_without_mail(extensions: tuple[str, ...]) -> None:
    answers, sink = ask(extensions=extensions)
    assert (answers.verdict, answers.detail) == (Verdict.GOOD, "250 2.1.5 Ok")
    assert sink.commands == [b"EHLO mx2.test", b"MAIL FROM:<>", b"RCPT TO:<bob@example.org>", b"RSET", b"QUIT"]
    assert sink.messages == []


@pytest.mark.parametrize("extensions", [EXTENSIONS, ("8BITMIME",)], ids=["pipelined", "in turn"])
def test_a_recipient_that_the_primary_has_not_is_bad(extensions: tuple[str, ...]) -> None:
    answers, _ = ask("carol", extensions=extensions)
    assert (answers.verdict, answers.detail) == (Verdict.BAD, NOBODY)


def test_a_made_up_address_is_asked_about_first_where_nothing_is_known_of_the_domain() -> None:
    answers, sink = ask(known=Verdict.UNKNOWN)
    assert (answers.verdict, answers.domain_verdict) == (Verdict.GOOD, Verdict.BAD)
    asked = [command for command in sink.commands if command.startswith(b"RCPT")]
    assert len(asked) == 2 and asked[1] == b"RCPT TO:<bob@example.org>"
    assert asked[0].endswith(b"@example.org>") and len(asked[0]) == len(b"RCPT TO:<@example.org>") + 20


def test_a_domain_that_takes_a_made_up_address_is_a_catch_all_and_nothing_more_is_asked() -> None:
    answers, sink = ask(known=Verdict.UNKNOWN, rcpt="250 2.1.5 Ok")
    assert (answers.verdict, answers.domain_verdict) == (Verdict.CATCH_ALL, Verdict.CATCH_ALL)
    assert sum(command.startswith(b"RCPT") for command in sink.commands) == 1


def test_in_a_domain_that_is_known_for_a_catch_all_nobody_is_asked() -> None:
    answers, sink = ask(known=Verdict.CATCH_ALL)
    assert (answers.verdict, sink.connection_count) == (Verdict.CATCH_ALL, 0)


def test_an_address_that_is_taken_proves_nothing_while_made_up_ones_may_be_taken_too() -> None:
    def greylisting(session: SinkSession, path: str) -> str:
        return "250 2.1.5 Ok" if path in PEOPLE else "451 4.7.1 greylisted"

    answers, _ = ask(known=Verdict.UNKNOWN, rcpt=greylisting)
    assert (answers.verdict, answers.domain_verdict) == (Verdict.UNKNOWN, Verdict.UNKNOWN)


@pytest.mark.parametrize(
    "said", ["450 4.2.1 later", "451 4.7.1 greylisted", "550 5.7.1 relaying denied", "554 5.7.1 blocked", "252 maybe"]
)
def test_an_answer_that_is_not_about_the_mailbox_is_no_verdict(said: str) -> None:
    answers, sink = ask(rcpt=said)
    assert (answers.verdict, answers.detail) == (Verdict.UNKNOWN, said)
    assert sink.commands[-1] == b"QUIT"


@pytest.mark.parametrize("extensions", [EXTENSIONS, ("8BITMIME",)], ids=["pipelined", "in turn"])
@pytest.mark.parametrize("said", ["550 5.1.1 no such user", "451 4.3.0 not now", "550 5.7.1 null sender refused"])
def test_a_refused_mail_is_no_verdict_about_the_recipient(said: str, extensions: tuple[str, ...]) -> None:
    answers, _ = ask(mail=said, rcpt="503 5.5.1 MAIL first", extensions=extensions)
    assert answers.verdict is Verdict.UNKNOWN
    assert said in answers.detail


# What cannot be said --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", ["bob\r\nDATA", "bob>", "b b", "b\x00", '"b\r\nRSET"', "<bob", '"'])
def test_no_address_can_bring_a_command_of_its_own(local: str) -> None:
    answers, sink = ask(local)
    assert answers.verdict is Verdict.UNKNOWN or b"DATA" not in b"".join(sink.commands)
    assert all(command in (b"EHLO mx2.test", b"QUIT") or b"RCPT" in command or b"MAIL" in command or command == b"RSET"
               for command in sink.commands)  # fmt: skip
    assert sink.connection_count == (1 if local == '"' else 0)


def test_an_address_beyond_ascii_wants_smtputf8() -> None:
    answers, sink = ask("jürgen", extensions=("PIPELINING",))
    assert answers.verdict is Verdict.UNKNOWN and "SMTPUTF8" in answers.detail
    assert b"MAIL FROM:<>" not in sink.commands
    _, sink = ask("jürgen")
    assert b"MAIL FROM:<> SMTPUTF8" in sink.commands
    assert "RCPT TO:<jürgen@example.org>".encode() in sink.commands


# The connection -------------------------------------------------------------------------------------------------


def test_one_connection_serves_many_questions() -> None:
    async def work(sink: Sink, asking: CallAhead) -> None:
        for local in ("bob", "carol", "alice"):
            await asking.ask(local, "example.org", Verdict.BAD)
        assert sink.connection_count == 1

    with_sink(work)


def test_a_connection_that_nobody_uses_is_left_in_order() -> None:
    async def work(sink: Sink, asking: CallAhead) -> None:
        await asking.ask("bob", "example.org", Verdict.BAD)
        while sink.connections:
            await asyncio.sleep(0.01)
        assert sink.commands[-1] == b"QUIT"
        assert (await asking.ask("alice", "example.org", Verdict.BAD)).verdict is Verdict.GOOD
        assert sink.connection_count == 2

    with_sink(work, CallAheadSettings(per_second=1000.0, burst=1000.0, idle_seconds=0.01))


def test_a_connection_that_the_primary_closed_meanwhile_is_opened_anew() -> None:
    def cut(session: SinkSession, argument: str) -> str:
        asyncio.get_running_loop().call_later(0.05, session.cut)
        return "250 2.0.0 Ok"

    async def work(sink: Sink, asking: CallAhead) -> None:
        await asking.ask("bob", "example.org", Verdict.BAD)
        while sink.connections:
            await asyncio.sleep(0.01)
        assert (await asking.ask("alice", "example.org", Verdict.BAD)).verdict is Verdict.GOOD

    with_sink(work, rset=cut)


@pytest.mark.parametrize("step", ["banner", "mail", "rcpt", "rset"])
@pytest.mark.parametrize("said", ["421 4.3.2 go away", Act.DROP, b"nonsense\r\n"], ids=["421", "cut", "nonsense"])
def test_a_primary_that_breaks_off_gives_no_verdict_and_is_left_alone(step: str, said: Any) -> None:
    async def work(sink: Sink, asking: CallAhead) -> None:
        first = await asking.ask("bob", "example.org", Verdict.BAD)
        opened = sink.connection_count
        second = await asking.ask("alice", "example.org", Verdict.BAD)
        assert (first.verdict, second.verdict) == (Verdict.UNKNOWN, Verdict.UNKNOWN)
        assert sink.connection_count == opened == 1
        assert second.detail == first.detail != ""

    with_sink(work, **{step: said})


def test_two_replies_to_one_question_are_no_verdict() -> None:
    answers, _ = ask("carol", extensions=("8BITMIME",), rcpt=b"550 5.1.1 no such user\r\n250 2.1.5 Ok\r\n")
    assert answers.verdict is Verdict.UNKNOWN


def test_a_primary_that_cannot_be_reached_is_no_verdict() -> None:
    async def work(sink: Sink, asking: CallAhead) -> Answers:
        await sink.stop()
        return await asking.ask("bob", "example.org", Verdict.BAD)

    answers = with_sink(work)
    assert answers.verdict is Verdict.UNKNOWN and answers.detail.startswith("connect: ")


def test_a_primary_that_is_silent_is_given_up() -> None:
    async def work(sink: Sink, asking: CallAhead) -> Answers:
        return await asking.ask("bob", "example.org", Verdict.BAD)

    answers = with_sink(work, timeouts=Timeouts(command=0.1), rcpt=Act.SILENT)
    assert answers.verdict is Verdict.UNKNOWN and "timeout" in answers.detail


def test_after_its_time_a_primary_that_broke_off_is_asked_again() -> None:
    async def work(sink: Sink, asking: CallAhead) -> None:
        assert (await asking.ask("bob", "example.org", Verdict.BAD)).verdict is Verdict.UNKNOWN
        del sink.replies["banner"]
        await asyncio.sleep(0.2)
        assert (await asking.ask("bob", "example.org", Verdict.BAD)).verdict is Verdict.GOOD

    backoff = Backoff(first=timedelta(milliseconds=100), longest=timedelta(milliseconds=100), lifetime=None)
    with_sink(work, CallAheadSettings(per_second=1000.0, burst=1000.0, backoff=backoff), banner="421 4.3.2 go away")


# Many questions -------------------------------------------------------------------------------------------------


def test_equal_questions_are_asked_once() -> None:
    async def work(sink: Sink, asking: CallAhead) -> None:
        answers = await asyncio.gather(*(asking.ask("bob", "example.org", Verdict.BAD) for _ in range(50)))
        assert {each.verdict for each in answers} == {Verdict.GOOD}
        assert sum(command.startswith(b"RCPT") for command in sink.commands) == 1

    with_sink(work)


def test_whoever_stops_waiting_does_not_stop_the_question_for_others() -> None:
    async def work(sink: Sink, asking: CallAhead) -> None:
        impatient = asyncio.create_task(asking.ask("bob", "example.org", Verdict.BAD))
        patient = asyncio.create_task(asking.ask("bob", "example.org", Verdict.BAD))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).verdict is Verdict.GOOD

    with_sink(work)


def test_too_many_questions_at_once_are_not_asked() -> None:
    async def work(sink: Sink, asking: CallAhead) -> None:
        answers = await asyncio.gather(*(asking.ask(f"user{n}", "example.org", Verdict.BAD) for n in range(8)))
        assert [each.verdict for each in answers] == [Verdict.BAD] * 5 + [Verdict.UNKNOWN] * 3

    with_sink(work, CallAheadSettings(per_second=1000.0, burst=1000.0, waiting=5))


def test_questions_are_paced_once_the_burst_is_used_up() -> None:
    async def work(sink: Sink, asking: CallAhead) -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(asking.ask(f"user{n}", "example.org", Verdict.BAD) for n in range(6)))
        assert sum(command.startswith(b"RCPT") for command in sink.commands) == 6
        return asyncio.get_running_loop().time() - began

    # However long the sockets took, the last three waited for their tokens.
    assert with_sink(work, CallAheadSettings(per_second=20.0, burst=3.0)) >= 2.9 / 20.0
