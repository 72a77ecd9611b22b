"""What RFC 5321 and the extensions have a server answer, command by command, through real sockets.

docs/smtp.md has the whole of it in a table, with the tests elsewhere that show the rest.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from fallback_mx.rules.health import State
from fallback_mx.smtp.etrn import Callers, Pending
from fallback_mx.smtp.limits import SessionLimits
from fallback_mx.smtp.terms import ListenerSettings
from mxqueue import Queue
from tests.fakes.tables import lay
from tests.integration.test_listener import ROUTES, Client, World, running, trusting


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue.open(lay(tmp_path / "queue.db"), node="n1", exclusive=True)
    yield queue
    queue.close()


@pytest.fixture
def settings(tmp_path: Path) -> ListenerSettings:
    return ListenerSettings("mx2.example.net", ROUTES, spool_directory=tmp_path)


@pytest.fixture
def world(queue: Queue, settings: ListenerSettings) -> Iterator[World]:
    with running(queue, settings) as world:
        yield world


def greeted(world: World) -> Client:
    """A client that has said nothing yet."""
    client = world.client()
    assert client.reply().startswith("220 mx2.example.net ")
    return client


# Order of commands (RFC 5321, section 4.1.4) ----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["NOOP", "HELP", "VRFY u@example.test", "EXPN list", "RSET"])
def test_some_commands_are_obeyed_before_any_greeting(world: World, command: str) -> None:
    assert greeted(world).say(command)[:3] in {"250", "214", "252", "502"}


@pytest.mark.parametrize(
    ("before", "command", "reply"),
    [
        ([], "MAIL FROM:<a@s.test>", "503 5.5.1"),
        ([], "RCPT TO:<u@example.test>", "503 5.5.1"),
        ([], "DATA", "503 5.5.1"),
        (["EHLO c.test"], "RCPT TO:<u@example.test>", "503 5.5.1"),
        (["EHLO c.test"], "DATA", "503 5.5.1"),
        (["EHLO c.test", "MAIL FROM:<a@s.test>"], "MAIL FROM:<b@s.test>", "503 5.5.1"),
        (["EHLO c.test", "MAIL FROM:<a@s.test>"], "DATA", "554 5.5.1"),
        (["EHLO c.test", "MAIL FROM:<a@s.test>", "RCPT TO:<u@elsewhere.test>"], "DATA", "554 5.5.1"),
        (["EHLO c.test", "MAIL FROM:a@s.test"], "RCPT TO:<u@example.test>", "503 5.5.1"),
        (["EHLO c.test", "MAIL FROM:<a@s.test>", "RSET"], "RCPT TO:<u@example.test>", "503 5.5.1"),
        (["EHLO c.test", "MAIL FROM:<a@s.test>", "EHLO c.test"], "RCPT TO:<u@example.test>", "503 5.5.1"),
        (["EHLO c.test", "MAIL FROM:<a@s.test>", "HELO c.test"], "RCPT TO:<u@example.test>", "503 5.5.1"),
        (["EHLO c.test", "MAIL FROM:<a@s.test>", "NOOP", "VRFY u", "HELP"], "RCPT TO:<u@example.test>", "250 2.1.5"),
    ],
)
def test_a_command_out_of_turn_is_503_and_data_without_a_recipient_554(
    world: World, before: list[str], command: str, reply: str
) -> None:
    client = greeted(world)
    for each in before:
        client.say(each)
    assert client.say(command).startswith(reply)


def test_a_greeting_that_is_refused_leaves_the_transaction_as_it_was(world: World) -> None:
    client = greeted(world)
    client.say("EHLO c.test")
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("EHLO").startswith("501")
    assert client.say("HELO two words").startswith("501")
    assert client.say("RCPT TO:<u@example.test>").startswith("250")


def test_helo_is_answered_with_the_name_alone(world: World) -> None:
    assert greeted(world).say("HELO c.test") == "250 mx2.example.net"


def test_verbs_are_read_in_any_case_and_blanks_behind_a_command_are_no_argument(world: World) -> None:
    client = greeted(world)
    assert client.say("eHlO c.test  ").startswith("250-mx2.example.net")
    assert client.say("mail From:<a@s.test> ").startswith("250")
    assert client.say("rset ").startswith("250")
    assert client.say("Quit  ").startswith("221")


def test_a_sender_that_said_helo_is_served_and_the_trace_says_so(world: World) -> None:
    client = greeted(world)
    client.say("HELO c.test")
    client.to_data(reverse_path="").send(b"x: y\r\n\r\n.\r\n")
    assert client.reply().startswith("250 2.0.0 Queued as ")
    assert b"with SMTP id" in world.queue.list().result()[0].trace


# Arguments (section 4.1.1) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["DATA x", "RSET x", "QUIT x", "STARTTLS x", "EHLO", "HELO", "VRFY"])
def test_an_argument_where_none_may_be_and_none_where_one_must_is_501(world: World, command: str) -> None:
    client = greeted(world)
    assert client.say(command).startswith("501 5.5.4 Syntax: ")
    assert client.say("NOOP").startswith("250"), "the session goes on"


@pytest.mark.parametrize("command", ["NOOP", "NOOP with something to ignore", "RSET"])
def test_noop_takes_any_argument(world: World, command: str) -> None:
    assert world.client().hello().say(command) == "250 2.0.0 Ok"


@pytest.mark.parametrize("address", ["u", "u@example.test", "<u@elsewhere.test>", "Postmaster"])
def test_vrfy_says_of_no_address_whether_it_exists(world: World, address: str) -> None:
    assert world.client().hello().say(f"VRFY {address}") == "252 2.1.5 Send some mail and see"


@pytest.mark.parametrize("command", ["EXPN", "EXPN staff"])
def test_expn_is_502(world: World, command: str) -> None:
    assert world.client().hello().say(command).startswith("502 5.5.1")


@pytest.mark.parametrize("command", ["FOO", "AUTH PLAIN AAAA", "TURN", "SEND FROM:<a@s.test>", "ATRN x.test", ""])
def test_what_is_no_command_here_is_500(world: World, command: str) -> None:
    assert world.client().hello().say(command).startswith("500 5.5.2")


def test_help_names_the_commands_and_whom_to_write_to_with_the_code_on_each_line(world: World) -> None:
    client = world.client().hello()
    client.send(b"HELP\r\nNOOP\r\n")
    lines = client.lines()
    assert [line[:10] for line in lines] == ["214-2.0.0 "] * (len(lines) - 1) + ["214 2.0.0 "]
    said = " ".join(lines)
    assert "EHLO HELO MAIL RCPT DATA RSET VRFY HELP NOOP QUIT STARTTLS ETRN" in said
    assert "postmaster" in said
    assert client.reply() == "250 2.0.0 Ok"


def test_help_with_a_command_gives_its_syntax_and_with_anything_else_504(world: World) -> None:
    client = world.client().hello()
    for verb in ("EHLO", "mail", "RCPT", "ETRN"):
        assert client.say(f"HELP {verb}").startswith(f"214 2.0.0 Syntax: {verb.upper()}")
    assert client.say("HELP AUTH").startswith("504 5.5.4")


def test_a_pipelined_quit_is_answered_last_and_what_follows_it_is_never_read(world: World) -> None:
    client = world.client().hello()
    client.send(b"MAIL FROM:<a@s.test>\r\nRCPT TO:<u@elsewhere.test>\r\nDATA\r\nRSET\r\nQUIT\r\nNOOP\r\n")
    assert [client.reply()[:3] for _ in range(5)] == ["250", "550", "554", "250", "221"]
    assert client.reply() == ""


# Who is always taken ----------------------------------------------------------------------------------------------


def test_a_null_reverse_path_takes_parameters_like_any_other(world: World) -> None:
    client = world.client().hello()
    assert client.say("MAIL FROM:<> SIZE=100 BODY=8BITMIME").startswith("250")
    assert client.say("RCPT TO:<u@example.test>").startswith("250")


@pytest.mark.parametrize("domain", ["", *(f"@{domain}" for domain in ROUTES)])
@pytest.mark.parametrize("local", ["postmaster", "Postmaster", "POSTMASTER"])
def test_postmaster_is_taken_at_every_domain_and_at_none(world: World, local: str, domain: str) -> None:
    client = world.client().hello()
    client.say("MAIL FROM:<>")
    assert client.say(f"RCPT TO:<{local}{domain}>").startswith("250")


# STARTTLS (RFC 3207) ------------------------------------------------------------------------------------------------


def test_starttls_is_502_where_there_is_no_certificate(world: World) -> None:
    client = greeted(world)
    assert "STARTTLS" not in client.say("EHLO c.test")
    assert client.say("STARTTLS").startswith("502 5.5.1")


def test_within_tls_everything_but_starttls_is_offered_and_starttls_is_503(
    queue: Queue, settings: ListenerSettings
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx2.example.net").configure_cert(context)
    with running(queue, replace(settings, tls_context=context)) as world:
        client = greeted(world)
        client.send(b"EHLO c.test\r\n")
        in_clear = client.lines()
        assert client.say("STARTTLS") == "220 2.0.0 Ready to start TLS"
        client.start_tls(trusting(authority))
        client.send(b"EHLO c.test\r\n")
        assert client.lines() == [line for line in in_clear if line[4:] != "STARTTLS"]
        assert client.say("STARTTLS").startswith("503 5.5.1")


# LIMITS (RFC 9422) ------------------------------------------------------------------------------------------------


def test_what_limits_promises_is_taken_and_one_more_is_put_off(queue: Queue, settings: ListenerSettings) -> None:
    few = replace(settings, max_recipients=2, session_limits=SessionLimits(messages=3))
    with running(queue, few) as world:
        client = world.client()
        client.reply()
        client.send(b"EHLO c.test\r\n")
        assert "LIMITS RCPTMAX=2 MAILMAX=3" in [line[4:] for line in client.lines()]
        for _ in range(3):
            assert client.say("MAIL FROM:<a@s.test>").startswith("250")
            replies = [client.say(f"RCPT TO:<u{number}@example.test>")[:9] for number in range(3)]
            assert replies == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]
            client.say("DATA")
            client.send(b"n: 1\r\n\r\n.\r\n")
            assert client.reply().startswith("250")
        assert client.say("MAIL FROM:<a@s.test>").startswith("421 4.7.0 3 messages in one session")


# ETRN (RFC 1985) --------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """Who asked for what, and what it is told."""

    told: Pending | None = None
    heard: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def __call__(self, primaries: Sequence[str], client_address: str, then: Callable[[Pending | None], None]) -> None:
        self.heard.append((tuple(primaries), client_address))
        asyncio.get_running_loop().call_soon(then, self.told)


@pytest.fixture
def asked() -> Asked:
    return Asked(Pending(7, is_up=True))


@pytest.fixture
def primaries_world(queue: Queue, settings: ListenerSettings, asked: Asked) -> Iterator[World]:
    """The clients here are at the address of the primaries "one" and "open", and of "two" nobody knows it."""
    here = ip_network("127.0.0.1")
    more = {"sub.example.test": ROUTES["example.test"], "other.test": ROUTES["second.test"]}
    with running(
        queue, replace(settings, routes=ROUTES | more), callers=Callers({"one": [here], "open": [here]}), ask=asked
    ) as world:
        yield world


def test_etrn_is_offered_to_a_primary_and_to_nobody_else(world: World, primaries_world: World) -> None:
    for each, is_offered in ((primaries_world, True), (world, False)):
        client = each.client()
        client.reply()
        assert ("250-ETRN" in client.say("EHLO c.test").split()) is is_offered


def test_etrn_of_anybody_else_is_459_and_counted(world: World) -> None:
    assert world.client().hello().say("ETRN example.test").startswith("459 4.7.1")
    assert world.refusals == ["etrn"]


@pytest.mark.parametrize(
    ("told", "reply"),
    [
        (Pending(7, is_up=True), "253 2.0.0 OK, 7 pending messages for example.test started"),
        (Pending(0, is_up=True), "251 2.0.0 OK, no messages waiting for example.test"),
        (Pending(0, is_up=False), "251 2.0.0 OK, no messages waiting for example.test"),
        (Pending(7, is_up=False), "250 2.0.0 OK, queuing for example.test starts once it answers our probe"),
        (None, "458 4.3.0 Unable to start the queue for example.test now"),
    ],
)
def test_etrn_is_told_what_waits(primaries_world: World, asked: Asked, told: Pending | None, reply: str) -> None:
    asked.told = told
    client = primaries_world.client().hello()
    assert client.say("ETRN Example.TEST.").startswith(reply)
    assert asked.heard == [(("one",), "127.0.0.1")]
    assert client.say("NOOP").startswith("250")


@pytest.mark.parametrize(
    ("argument", "primaries"),
    [
        ("sub.example.test", [("one",)]),
        ("@example.test", [("one",)]),
        ("@sub.example.test", [("one",)]),
        ("@test", [("one", "open")]),
        ("open.test", [("open",)]),
    ],
)
def test_etrn_reaches_the_clients_own_primaries_alone(
    primaries_world: World, asked: Asked, argument: str, primaries: list[tuple[str, ...]]
) -> None:
    assert primaries_world.client().hello().say(f"ETRN {argument}").startswith("253")
    assert [heard for heard, _ in asked.heard] == primaries


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", "501 5.5.4"),
        ("two words", "501 5.5.4"),
        ("@", "501 5.5.4"),
        ("-x.test", "501 5.5.4"),
        ("127.0.0.1", "501 5.5.4"),
        ("#uucp", "458 4.3.3"),
        ("second.test", "459 4.7.1"),
        ("elsewhere.test", "459 4.7.1"),
        ("@second.test", "459 4.7.1"),
        ("xample.test", "459 4.7.1"),
        ("@xample.test", "459 4.7.1"),
    ],
)
def test_etrn_for_what_is_not_the_clients_starts_nothing(
    primaries_world: World, asked: Asked, argument: str, reply: str
) -> None:
    client = primaries_world.client().hello()
    assert client.say(f"ETRN {argument}").startswith(reply)
    assert asked.heard == []
    assert client.say("NOOP").startswith("250")


def test_etrn_wants_a_greeting_and_no_transaction(primaries_world: World, asked: Asked) -> None:
    client = greeted(primaries_world)
    assert client.say("ETRN example.test").startswith("503 5.5.1")
    client.say("EHLO c.test")
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("ETRN example.test").startswith("503 5.5.1")
    assert asked.heard == []
    assert client.say("RCPT TO:<u@example.test>").startswith("250")


def test_pipelined_commands_around_etrn_are_answered_in_order(primaries_world: World) -> None:
    client = primaries_world.client().hello()
    client.send(b"NOOP\r\nETRN example.test\r\nETRN #x\r\nETRN open.test\r\nQUIT\r\n")
    assert [client.reply()[:3] for _ in range(5)] == ["250", "253", "458", "253", "221"]


def test_etrn_again_and_again_comes_to_the_limit_of_idle_commands(
    queue: Queue, settings: ListenerSettings, asked: Asked
) -> None:
    few = replace(settings, session_limits=SessionLimits(idle_commands=5))
    with running(queue, few, callers=Callers({"one": [ip_network("127.0.0.1")]}), ask=asked) as world:
        client = world.client().hello()
        replies = [client.say("ETRN example.test")[:3] for _ in range(5)]
        assert replies == ["253", "253", "253", "253", "421"]
        assert len(asked.heard) == 5


# Enhanced status codes (RFC 2034) ---------------------------------------------------------------------------------


def test_every_line_of_every_reply_after_the_greeting_has_its_class(primaries_world: World) -> None:
    primaries_world.states["one"] = State.UP
    client = primaries_world.client().hello()
    commands = ["RCPT TO:<u@x.test>", "MAIL FROM:<a@s.test> X=1", "MAIL FROM:<a@s.test> SIZE=99999999999", "VRFY"]
    commands += ["MAIL FROM:<a@s.test>", "RCPT TO:<u@example.test>", "RCPT TO:<u@[127.0.0.1]>", "RCPT TO:<x", "DATA"]
    commands += ["RSET", "HELP", "HELP X", "EXPN", "XCLIENT NAME=x", "STARTTLS", "ETRN #x", "ETRN example.test", "FOO"]
    for command in [*commands, "QUIT"]:
        client.send(command.encode() + b"\r\n")
        for line in client.lines():
            code, enhanced = line[:3], line[4:].partition(" ")[0]
            assert enhanced.count(".") == 2, line
            assert enhanced[0] == code[0], line
