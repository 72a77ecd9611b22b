"""The envelope as senders put it, through a real listener into a real queue, and by a real courier out again.

FAULTS 34 and 49 with their tricks of address syntax, and 41 from end to end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from fallback_mx.rules.admission import WhenUp
from fallback_mx.smtp.sink import EXTENSIONS, Sink
from fallback_mx.smtp.terms import ListenerSettings, Route
from mxqueue import Message, Queue, RecipientState
from tests.fakes.drains import rig, until
from tests.fakes.tables import lay
from tests.integration.test_listener import Client, World, running

PLAIN = EXTENSIONS
WITH_DSN = (*EXTENSIONS, "DSN")
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


@dataclass(frozen=True, slots=True)
class LenientRoute(Route):
    """A route to a primary whose addresses look like routes."""

    takes_routing_characters: bool = True


def settings_in(directory: Path) -> ListenerSettings:
    main, lenient = Route("main", WhenUp.GUARD), LenientRoute("lenient", WhenUp.GUARD)
    routes = {"example.test": main, "xn--mller-kva.test": main, "lenient.test": lenient}
    return ListenerSettings("mx2.example.net", routes, spool_directory=directory)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue.open(lay(tmp_path / "queue.db"), node="n1", exclusive=True)
    yield queue
    queue.close()


@pytest.fixture
def world(queue: Queue, tmp_path: Path) -> Iterator[World]:
    with running(queue, settings_in(tmp_path)) as world:
        yield world


def send(world: World, mail: str, *rcpts: str, content: bytes = CONTENT) -> str:
    """One message; the reply to its final dot."""
    client = world.client().hello()
    assert client.say(f"MAIL {mail}").startswith("250"), mail
    for rcpt in rcpts:
        assert client.say(f"RCPT {rcpt}").startswith("250"), rcpt
    assert client.say("DATA").startswith("354")
    client.send(content + b".\r\n")
    return client.reply()


def queued(world: World, mail: str, *rcpts: str) -> Message:
    assert send(world, mail, *rcpts).startswith("250")
    (message,) = world.queue.list().result()
    return message


def replies(world: World, *commands: str) -> list[str]:
    client: Client = world.client().hello()
    return [client.say(command) for command in commands]


# Into the queue ----------------------------------------------------------------------------------------------------


def test_what_the_sender_asks_to_be_told_is_kept(world: World) -> None:
    message = queued(
        world,
        "FROM:<a@sender.test> RET=HDRS ENVID=QQ+2B314",
        "TO:<u@example.test> NOTIFY=SUCCESS,delay ORCPT=rfc822;first+2Bone@example.test",
        "TO:<v@example.test>",
        "TO:<w@example.test> NOTIFY=NEVER",
    )
    assert (message.ret, message.envid) == ("HDRS", "QQ+2B314")
    assert [(each.notify, each.orcpt) for each in message.recipients] == [
        ("SUCCESS,DELAY", "rfc822;first+2Bone@example.test"),
        ("", ""),
        ("NEVER", ""),
    ]


def test_requests_stay_with_their_recipients_when_a_message_becomes_two(world: World) -> None:
    reply = send(
        world,
        "FROM:<a@sender.test> ENVID=e",
        "TO:<u@example.test> NOTIFY=NEVER",
        "TO:<v@lenient.test> NOTIFY=DELAY",
    )
    assert reply.startswith("250")
    found = {message.route: message for message in world.queue.list().result()}
    assert {name: message.recipients[0].notify for name, message in found.items()} == {
        "main": "NEVER",
        "lenient": "DELAY",
    }
    assert {message.envid for message in found.values()} == {"e"}


def test_a_recipient_that_is_named_twice_is_kept_as_it_was_named_first(world: World) -> None:
    message = queued(
        world, "FROM:<>", "TO:<u@example.test> NOTIFY=NEVER", "TO:<u@EXAMPLE.test> NOTIFY=DELAY", "TO:<v@example.test>"
    )
    assert [(each.forward_path, each.notify) for each in message.recipients] == [
        ("u@example.test", "NEVER"),
        ("v@example.test", ""),
    ]


def test_a_source_route_is_dropped(world: World) -> None:
    message = queued(world, "FROM:<@x.test,@y.test:a@sender.test>", "TO:<@mx2.example.net:u@example.test>")
    assert message.reverse_path == "a@sender.test"
    assert message.recipients[0].forward_path == "u@example.test"


def test_every_form_of_a_domain_is_one_route_and_one_recipient(world: World) -> None:
    forms = ["müller.test", "MÜLLER.test", "Müller.TEST.", "xn--mller-kva.test", "XN--MLLER-KVA.test.", "müller。test"]
    message = queued(world, "FROM:<a@sender.test> SMTPUTF8", *(f"TO:<u@{form}>" for form in forms))
    assert [each.forward_path for each in message.recipients] == ["u@xn--mller-kva.test"]


def test_an_address_in_unicode_is_taken_with_smtputf8_and_the_trace_says_so(world: World) -> None:
    message = queued(world, "FROM:<grüße@sender.test> BODY=8BITMIME SMTPUTF8", "TO:<नमस्ते@example.test>")
    assert message.smtputf8
    assert message.body == "8BITMIME"
    assert message.reverse_path == "grüße@sender.test"
    assert message.recipients[0].forward_path == "नमस्ते@example.test"
    assert b"with UTF8SMTP id" in message.trace


def test_a_transaction_with_smtputf8_over_tls_says_both(queue: Queue, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx2.example.net").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with running(queue, replace(settings_in(tmp_path), tls_context=context)) as world:
        client = world.client().hello()
        assert client.say("STARTTLS").startswith("220")
        client.start_tls(trusting)
        for command in ("EHLO client.test", "MAIL FROM:<> SMTPUTF8", "RCPT TO:<u@example.test>"):
            assert client.say(command).startswith("250")
        assert client.say("DATA").startswith("354")
        client.send(CONTENT + b".\r\n")
        assert client.reply().startswith("250")
    assert b"with UTF8SMTPS id" in queue.list().result()[0].trace


@pytest.mark.parametrize("command", ["MAIL FROM:<grüße@sender.test>", "MAIL FROM:<a@müller.test> BODY=8BITMIME"])
def test_a_sender_in_unicode_wants_smtputf8(world: World, command: str) -> None:
    assert replies(world, command)[0].startswith("550 5.6.7")


@pytest.mark.parametrize("rcpt", ["TO:<grüße@example.test>", "TO:<u@müller.test>", "TO:<@müller.test:u@example.test>"])
def test_a_recipient_in_unicode_wants_smtputf8(world: World, rcpt: str) -> None:
    assert replies(world, "MAIL FROM:<a@sender.test>", f"RCPT {rcpt}")[1].startswith("553 5.6.7")


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("MAIL FROM:<a@sender.test> AUTH=<>", "555 5.5.4"),
        ("MAIL FROM:<a@sender.test> RET=ALL", "501 5.5.4"),
        ("MAIL FROM:<a@sender.test> BODY=BINARYMIME", "501 5.5.4"),
        ("MAIL FROM:<a@sender.test> SMTPUTF8=yes", "501 5.5.4"),
        ("MAIL FROM:<a@[10.0.0.256]>", "501 5.1.7"),
        ("MAIL FROM:a@sender.test", "501 5.1.7"),
        ("EHLO grüße", "501 5.5.2"),
        ("VRFY grüße", "252 2.1.5"),
        ("MAIL FROM:<a\x1bb@sender.test>", "501 5.5.2"),
        ("MAIL FROM:<a\x85b@sender.test> SMTPUTF8", "501 5.5.2"),
        ("MAIL FROM:<a\u202eb@sender.test> SMTPUTF8", "501 5.5.2"),
    ],
)
def test_a_mistake_has_the_reply_of_its_rfc(world: World, command: str, reply: str) -> None:
    assert replies(world, command)[0][:9] == reply


@pytest.mark.parametrize(
    ("rcpt", "reply"),
    [
        ("TO:<u@example.test> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("TO:<u@example.test> ORCPT=u@example.test", "501 5.5.4"),
        ("TO:<u@example.test> RET=FULL", "555 5.5.4"),
        ("TO:<u@example.test>x", "501 5.1.3"),
        ("TO:<>", "501 5.1.3"),
        ("TO:<u@[127.0.0.1]>", "553 5.1.3"),
        ("TO:<postmaster@[IPv6:::1]>", "553 5.1.3"),
        ("TO:<a%elsewhere.test@example.test>", "553 5.1.3"),
        ('TO:<"a@elsewhere.test"@example.test>', "553 5.1.3"),
        ("TO:<a\uff20elsewhere.test@example.test>", "553 5.1.3"),
        ("TO:<u@elsewhere.test>", "550 5.7.1"),
        ("TO:<u@muller.test>", "550 5.7.1"),
    ],
)
def test_a_recipient_that_is_not_taken_has_the_reply_of_its_rfc(world: World, rcpt: str, reply: str) -> None:
    assert replies(world, "MAIL FROM:<a@sender.test> SMTPUTF8", f"RCPT {rcpt}")[1][:9] == reply
    assert world.queue.list().result() == []


def test_octets_that_are_not_utf_8_are_no_address(world: World) -> None:
    client = world.client().hello()
    client.send(b"MAIL FROM:<gr\xfc\xdfe@sender.test> SMTPUTF8\r\n")
    assert client.reply().startswith("501 5.5.2")


def test_a_refused_command_changes_nothing(world: World) -> None:
    said = replies(
        world,
        "MAIL FROM:<a@sender.test> X=1",
        "MAIL FROM:<a@sender.test>",
        "RCPT TO:<u@example.test> X=1",
        "DATA",
        "RCPT TO:<u@example.test>",
        "DATA",
    )
    assert [reply[:3] for reply in said] == ["555", "250", "555", "554", "250", "354"]


@pytest.mark.parametrize("local", ["a%b", "a!b", '"a@b"', "/etc/passwd", "|prog"])
def test_a_primary_that_has_addresses_with_routing_characters_gets_mail_for_them(world: World, local: str) -> None:
    message = queued(world, "FROM:<a@sender.test>", f"TO:<{local}@lenient.test>")
    assert message.recipients[0].forward_path == f"{local}@lenient.test"


# To the primary ----------------------------------------------------------------------------------------------------


def through(
    directory: Path, sink: Sink, mail: str, *rcpts: str, content: bytes = CONTENT
) -> tuple[list[str], list[tuple[str, RecipientState, str]]]:
    """What the primary was told (MAIL and RCPT), and what became of each recipient."""

    async def run() -> tuple[list[str], list[tuple[str, RecipientState, str]]]:
        async with rig(directory, sink) as r:
            with running(r.queue, settings_in(directory)) as world:
                reply = await asyncio.to_thread(send, world, mail, *rcpts, content=content)
                assert reply.startswith("250")
            async with r.running():
                waiting = RecipientState.PENDING
                await until(lambda: all(each.state is not waiting for each in r.recipients()), "nothing pending")
            said = [line.decode() for line in sink.commands if line[:4] in {b"MAIL", b"RCPT"}]
            return said, [(each.forward_path, each.state, each.last_reply) for each in r.recipients()]

    return asyncio.run(run())


ASKED = (
    "FROM:<a@sender.test> RET=FULL ENVID=QQ+2B314",
    "TO:<u@example.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;first+3Done@example.test",
    "TO:<v@example.test>",
    "TO:<w@example.test> NOTIFY=NEVER",
)


def test_a_primary_that_offers_dsn_is_told_what_the_sender_asked(tmp_path: Path) -> None:
    said, became = through(tmp_path, Sink(extensions=WITH_DSN), *ASKED)
    assert said[0].split()[1:] == ["FROM:<a@sender.test>", said[0].split()[2], "RET=FULL", "ENVID=QQ+2B314"]
    assert said[1:] == [f"RCPT {rcpt}" for rcpt in ASKED[1:]]
    assert {state for _, state, _ in became} == {RecipientState.DELIVERED}


def test_a_primary_without_dsn_gets_the_mail_and_is_told_nothing(tmp_path: Path) -> None:
    said, became = through(tmp_path, Sink(extensions=PLAIN), *ASKED)
    assert "RET" not in said[0]
    assert "ENVID" not in said[0]
    assert said[1:] == ["RCPT TO:<u@example.test>", "RCPT TO:<v@example.test>", "RCPT TO:<w@example.test>"]
    assert {state for _, state, _ in became} == {RecipientState.DELIVERED}


WIDE = ("FROM:<grüße@sender.test> SMTPUTF8", "TO:<नमस्ते@example.test> ORCPT=utf-8;नमस्ते@example.test")


def test_mail_in_unicode_reaches_a_primary_that_offers_smtputf8_as_it_was(tmp_path: Path) -> None:
    sink = Sink(extensions=WITH_DSN)
    content = "Subject: grüße\r\n\r\nhello\r\n".encode()
    said, _ = through(tmp_path, sink, *WIDE, content=content)
    assert said[0].startswith("MAIL FROM:<grüße@sender.test> ")
    assert "SMTPUTF8" in said[0].split()
    assert said[1] == f"RCPT {WIDE[1]}"
    assert sink.messages[0].content.endswith(content)


def test_mail_from_an_address_in_unicode_is_held_for_a_primary_without_smtputf8(tmp_path: Path) -> None:
    said, became = through(tmp_path, Sink(extensions=("8BITMIME", "DSN")), *WIDE)
    assert said == []
    assert [state for _, state, _ in became] == [RecipientState.HELD]
    assert became[0][2] == "an address is not ASCII, and 127.0.0.1 does not offer SMTPUTF8"


@pytest.mark.parametrize(
    ("mail", "extensions", "missing"),
    [
        ("FROM:<a@sender.test> BODY=8BITMIME", ("SMTPUTF8",), "8BITMIME"),
        ("FROM:<a@sender.test> BODY=8BITMIME SMTPUTF8", ("8BITMIME",), "SMTPUTF8"),
    ],
)
def test_8_bit_mail_is_held_for_a_primary_that_could_not_take_it_as_it_is(
    tmp_path: Path, mail: str, extensions: tuple[str, ...], missing: str
) -> None:
    sink = Sink(extensions=extensions)
    _, became = through(tmp_path, sink, mail, "TO:<u@example.test>", content="Subject: ü\r\n\r\n".encode())
    assert [state for _, state, _ in became] == [RecipientState.HELD]
    assert became[0][2] == f"8-bit content, and 127.0.0.1 does not offer {missing}"
    assert sink.messages == []


def test_one_recipient_that_a_primary_cannot_understand_keeps_no_other_waiting(tmp_path: Path) -> None:
    sink = Sink(extensions=("PIPELINING",))
    rcpts = ("TO:<grüße@example.test>", "TO:<u@example.test> ORCPT=utf-8;ü@example.test", "TO:<v@müller.test>")
    said, became = through(tmp_path, sink, "FROM:<a@sender.test> SMTPUTF8", *rcpts)
    assert said == ["MAIL FROM:<a@sender.test>", "RCPT TO:<u@example.test>", "RCPT TO:<v@xn--mller-kva.test>"]
    assert [(path, state) for path, state, _ in became] == [
        ("grüße@example.test", RecipientState.HELD),
        ("u@example.test", RecipientState.DELIVERED),
        ("v@xn--mller-kva.test", RecipientState.DELIVERED),
    ]


def test_an_original_recipient_in_unicode_is_told_in_ascii_without_smtputf8(tmp_path: Path) -> None:
    rcpt = "TO:<u@example.test> ORCPT=utf-8;ü@example.test"
    said, _ = through(tmp_path, Sink(extensions=("DSN",)), "FROM:<a@sender.test> SMTPUTF8", rcpt)
    assert said[1] == r"RCPT TO:<u@example.test> ORCPT=utf-8;\x{FC}@example.test"
