"""Who gets in, through real sockets: what is known of recipients, grace, greylisting, junk lists, the greeting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import UnknownRecipients, Verdict
from fallback_mx.smtp.acquaintances import Acquaintances
from tests.fakes.clock import Clock
from tests.fakes.dns import NameServer, resolver_for
from tests.fakes.gate import Gate, Knowing, gate

JUNK, HONEST = "8.8.4.4", "9.9.9.9"
LISTS: Any = {("4.4.8.8.bl.test.", "A"): ["127.0.0.2"]}
OK = "250 2.1.5 Recipient ok"
NO_SUCH = "550 5.1.1 No such recipient here"
GUARDED = "451 4.3.2 The primary mail server is up, please use it"
GREY = "451 4.7.1 Greylisted"


def play(story: Callable[[Gate], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), gate(**options) as there:
            await story(there)

    asyncio.run(run())


# Recipients -----------------------------------------------------------------------------------------------------


def test_in_an_outage_bad_is_refused_good_and_catch_all_are_taken() -> None:
    async def story(there: Gate) -> None:
        there.knowing.verdicts = {"no@example.test": Verdict.BAD, "any@example.test": Verdict.CATCH_ALL}
        client = await there.sender()
        assert await client.say("RCPT TO:<no@example.test>") == NO_SUCH
        assert await client.say("RCPT TO:<any@example.test>") == OK
        assert await client.say("RCPT TO:<yes@example.test>") == OK
        assert there.told.refusals == [("recipient", NO_SUCH)]
        assert (await client.say("DATA")).startswith("354")

    play(story, asks_of_recipients=True, unknown_recipients=UnknownRecipients.REFUSE)


@pytest.mark.parametrize(
    ("unknown", "reply"),
    [(UnknownRecipients.ACCEPT, OK), (UnknownRecipients.DEFER, "451 4.1.1"), (UnknownRecipients.REFUSE, NO_SUCH)],
)
def test_what_an_unknown_recipient_is_told_is_configured(unknown: UnknownRecipients, reply: str) -> None:
    async def story(there: Gate) -> None:
        there.knowing.verdicts = {"u@example.test": Verdict.UNKNOWN}
        assert (await there.rcpt("u")).startswith(reply)
        assert [reason for reason, _ in there.told.refusals] == ([] if reply == OK else ["unknown_recipient"])

    play(story, asks_of_recipients=True, unknown_recipients=unknown)


def test_where_nobody_can_say_the_sender_is_to_come_back() -> None:
    async def story(there: Gate) -> None:
        there.knowing.verdicts = {"u@example.test": None}
        assert (await there.rcpt("u")).startswith("451 4.1.1 ")

    play(story, asks_of_recipients=True)


def test_nobody_is_asked_where_nothing_is_configured_and_nothing_bad_is_known() -> None:
    async def story(there: Gate) -> None:
        there.knowing.verdicts = {"u@example.test": Verdict.BAD}
        assert await there.rcpt("u") == OK
        assert there.knowing.asked == []
        there.knowing.refusing = frozenset({"main"})
        assert await there.rcpt("u") == NO_SUCH

    play(story)


def test_postmaster_is_taken_whatever_is_known_and_from_whomever() -> None:
    async def story(there: Gate) -> None:
        there.knowing.verdicts = dict.fromkeys(["postmaster@example.test", "Postmaster@example.test"], Verdict.BAD)
        client = await there.sender()
        for path in ("postmaster", "Postmaster@example.test"):
            assert await client.say(f"RCPT TO:<{path}>") == OK
        assert there.knowing.asked == []

    play(story, asks_of_recipients=True, greylist_seconds=60.0, unknown_recipients=UnknownRecipients.REFUSE)


def test_a_flood_to_one_recipient_asks_once() -> None:
    async def story(there: Gate) -> None:
        there.knowing.verdicts = {"u@example.test": Verdict.BAD}
        there.knowing.may_answer.clear()
        clients = [await there.sender() for _ in range(10)]
        for client in clients:
            await client.send(b"RCPT TO:<u@example.test>\r\n")
        while not there.knowing.asked:
            await asyncio.sleep(0.01)
        there.knowing.may_answer.set()
        assert [await client.reply() for client in clients] == [NO_SUCH] * 10
        assert await there.rcpt("u") == NO_SUCH
        assert there.knowing.asked == [("u@example.test", True)]

    play(story, asks_of_recipients=True)


def test_commands_in_one_piece_are_answered_in_order_though_recipients_take_time() -> None:
    async def story(there: Gate) -> None:
        there.knowing.verdicts = {"no@example.test": Verdict.BAD}
        client = await there.sender()
        names = ["yes", "no", "also"]
        await client.send(b"".join(b"RCPT TO:<%s@example.test>\r\n" % name.encode() for name in names) + b"DATA\r\n")
        assert [await client.reply() for _ in names] == [OK, NO_SUCH, OK]
        assert (await client.reply()).startswith("354")
        assert there.knowing.asked == [(f"{name}@example.test", True) for name in names]

    play(story, asks_of_recipients=True)


@pytest.mark.parametrize(
    ("unknown", "reply"), [(UnknownRecipients.ACCEPT, OK), (UnknownRecipients.REFUSE, "451 4.1.1")]
)
def test_a_recipient_that_takes_too_long_to_find_out_about_is_unknown_and_not_refused_for_good(
    unknown: UnknownRecipients, reply: str
) -> None:
    async def story(there: Gate) -> None:
        there.knowing.may_answer.clear()
        assert (await there.rcpt("u")).startswith(reply)

    play(story, asks_of_recipients=True, unknown_recipients=unknown)


def test_an_answer_that_comes_too_late_for_its_sender_is_there_for_the_next() -> None:
    async def run() -> None:
        knowing = Knowing()
        knowing.may_answer.clear()
        asking = Acquaintances(knowing, lambda: 0.0, wait_seconds=0.01)
        with pytest.raises(TimeoutError):
            await asking.verdict("main", "u@example.test")
        assert asking.recall("main", "u@example.test") is None
        knowing.may_answer.set()
        while (recalled := asking.recall("main", "u@example.test")) is None:
            await asyncio.sleep(0)
        assert recalled == (Verdict.GOOD,)
        await asking.close()

    asyncio.run(run())


def test_a_sender_that_goes_while_it_waits_disturbs_nobody() -> None:
    async def story(there: Gate) -> None:
        there.knowing.may_answer.clear()
        client = await there.sender()
        await client.send(b"RCPT TO:<u@example.test>\r\n")
        while not there.knowing.asked:
            await asyncio.sleep(0.01)
        client.vanish()
        while there.listener.sessions:
            await asyncio.sleep(0.01)
        there.knowing.may_answer.set()
        assert await there.rcpt("u") == OK

    play(story, asks_of_recipients=True)


def test_a_stop_ends_a_session_that_waits() -> None:
    async def story(there: Gate) -> None:
        there.knowing.may_answer.clear()
        client = await there.sender()
        await client.send(b"RCPT TO:<u@example.test>\r\n")
        while not there.knowing.asked:
            await asyncio.sleep(0.01)
        await there.listener.stop(0.1)
        assert await client.reply() == ""

    play(story, asks_of_recipients=True)


def test_while_the_primary_is_up_and_everything_is_accepted_only_the_bad_are_refused() -> None:
    async def story(there: Gate) -> None:
        there.state = State.UP
        there.knowing.verdicts = {"no@example.test": Verdict.BAD, "u@example.test": Verdict.UNKNOWN}
        assert await there.rcpt("no") == NO_SUCH
        assert await there.rcpt("u") == OK

    options = {"unknown_recipients": UnknownRecipients.REFUSE, "greylist_seconds": 60.0}
    play(story, when_up=WhenUp.ACCEPT, asks_of_recipients=True, **options)


def test_a_guarded_primary_is_asked_about_whom_it_is_sent_and_nobody_waits() -> None:
    async def story(there: Gate) -> None:
        there.state = State.UP
        there.knowing.may_answer.clear()
        assert await there.rcpt("u") == GUARDED
        while not there.knowing.asked:
            await asyncio.sleep(0.01)
        assert await there.rcpt("u") == GUARDED
        assert there.knowing.asked == [("u@example.test", False)]

    play(story, asks_of_recipients=True, calls_ahead=True)


# Grace and greylisting ------------------------------------------------------------------------------------------


def test_a_sender_that_comes_again_is_let_in_though_the_primary_is_up() -> None:
    clock = Clock()

    async def story(there: Gate) -> None:
        there.state = State.UP
        assert await there.rcpt("u") == GUARDED
        clock.advance(seconds=599)
        assert await there.rcpt("u") == GUARDED
        clock.advance(seconds=1)
        assert await there.rcpt("other") == GUARDED
        assert await there.rcpt("u", "198.51.100.1") == GUARDED
        assert await there.rcpt("u", "192.0.2.99") == OK
        assert there.told.admitted == [("u@example.test", "main", "grace")]

    play(story, grace_after_seconds=600.0, clock=clock)


def test_grace_opens_no_door_to_a_recipient_that_is_known_to_be_bad() -> None:
    clock = Clock()

    async def story(there: Gate) -> None:
        there.state = State.UP
        there.knowing.verdicts = {"no@example.test": Verdict.BAD}
        assert await there.rcpt("no") == GUARDED
        clock.advance(seconds=600)
        assert await there.rcpt("no") == NO_SUCH
        assert there.told.admitted == []

    play(story, grace_after_seconds=600.0, asks_of_recipients=True, clock=clock)


def test_an_unknown_recipient_is_greylisted_in_an_outage_and_a_good_one_is_not() -> None:
    clock = Clock()

    async def story(there: Gate) -> None:
        there.knowing.verdicts = {"u@example.test": Verdict.UNKNOWN, "v@example.test": Verdict.UNKNOWN}
        assert await there.rcpt("good") == OK
        assert (await there.rcpt("u")).startswith(GREY)
        assert [reason for reason, _ in there.told.refusals] == ["greylist"]
        clock.advance(seconds=300)
        assert await there.rcpt("u") == OK
        assert await there.rcpt("v") == OK

    play(story, greylist_seconds=300.0, asks_of_recipients=True, clock=clock)


# Junk lists -----------------------------------------------------------------------------------------------------


def play_with_lists(story: Callable[[Gate, NameServer], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        server = NameServer(LISTS)
        async with asyncio.timeout(60), resolver_for(server) as resolver:
            options: dict[str, Any] = {"dnsbl": ("bl.test",), "make_resolver": lambda seconds: resolver}
            options["when_up"] = WhenUp.ACCEPT
            async with gate(**options) as there:
                await story(there, server)

    asyncio.run(run())


def test_a_listed_client_is_sent_away_in_an_outage_and_asked_about_once() -> None:
    async def story(there: Gate, server: NameServer) -> None:
        for _ in range(2):
            assert (await there.rcpt("u", JUNK)).startswith(f"451 4.7.1 {JUNK} is listed by bl.test; ")
            assert await there.rcpt("u", HONEST) == OK
            assert await there.rcpt("postmaster", JUNK) == OK
        assert there.told.refusals[0][0] == "dnsbl"
        names = [name for name, _, _ in server.asked if not name.startswith("1.0.0.127.")]
        assert sorted(names) == ["4.4.8.8.bl.test.", "9.9.9.9.bl.test."]

    play_with_lists(story)


def test_lists_are_asked_in_an_outage_only() -> None:
    async def story(there: Gate, server: NameServer) -> None:
        there.state = State.UP
        assert await there.rcpt("u", JUNK) == OK
        assert server.asked == []

    play_with_lists(story)


def test_a_reload_without_lists_asks_none() -> None:
    async def story(there: Gate, server: NameServer) -> None:
        there.configure(dnsbl=())
        assert await there.rcpt("u", JUNK) == OK
        assert server.asked == []

    play_with_lists(story)


# The greeting ---------------------------------------------------------------------------------------------------

EARLY = "554 5.5.1 Protocol error: you spoke before you were greeted"


def test_a_patient_client_is_greeted_after_the_delay_and_served() -> None:
    async def story(there: Gate) -> None:
        assert await there.rcpt("u") == OK

    play(story, greeting_delay_seconds=0.1)


@pytest.mark.parametrize("is_together", [True, False])
def test_who_speaks_before_the_greeting_is_cut_off(is_together: bool) -> None:
    async def story(there: Gate) -> None:
        client = await there.connect(first=b"EHLO junk.test\r\n" if is_together else b"")
        if not is_together:
            await asyncio.sleep(0.05)
            await client.send(b"EHLO junk.test\r\n")
        await client.send(b"MAIL FROM:<>\r\n")
        assert [await client.reply(), await client.reply()] == [EARLY, ""]
        assert there.told.refusals == [("early_talker", "")]

    play(story, greeting_delay_seconds=30.0)


def test_a_client_that_goes_before_its_greeting_is_forgotten() -> None:
    async def story(there: Gate) -> None:
        for end in ("vanish", "half_close"):
            client = await there.connect()
            while not there.listener.sessions:
                await asyncio.sleep(0.01)
            getattr(client, end)()
            while there.listener.sessions:
                await asyncio.sleep(0.01)
        assert there.listener.crowd.total == 0

    play(story, greeting_delay_seconds=30.0)


def test_a_stop_does_not_wait_for_greetings() -> None:
    async def story(there: Gate) -> None:
        client = await there.connect()
        while not there.listener.sessions:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await there.listener.stop(20.0)
        assert (await client.reply()).startswith("421 4.3.2 ")

    play(story, greeting_delay_seconds=30.0)


def test_while_connections_are_scarce_nobody_waits_for_a_greeting() -> None:
    async def story(there: Gate) -> None:
        await there.connect()
        while not there.listener.sessions:
            await asyncio.sleep(0.01)
        assert (await (await there.connect()).reply()).startswith("220 ")

    play(story, greeting_delay_seconds=30.0, max_connections=2, max_connections_per_client=2)
