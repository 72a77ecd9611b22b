"""Python's smtplib and aiosmtplib as senders: mail of every kind through an outage, byte for byte."""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from email.message import EmailMessage
from email.policy import SMTPUTF8

import aiosmtplib
import pytest

from tests.fakes.letters import LETTERS, Letter, first_difference, without_trace
from tests.fakes.outage import outage
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import DOMAIN, Relay, primary

# No mail server keeps such lines together (RFC 5321, section 4.5.3.1.6), and a program's log by mail has them.
ENDLESS = Letter("endless-lines", b"Message-ID: <endless-lines@sender.test>\r\n\r\n" + (b"x" * 60_000 + b"\r\n") * 3)
EVERY_KIND = (*LETTERS, ENDLESS)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Relay, FakePrimary]]:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        yield relay, fake


def by_smtplib(port: int, letters: Sequence[Letter]) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="sender.test", timeout=60) as client:
        client.ehlo()
        for letter in letters:
            options = letter.mail_parameters
            assert client.sendmail(letter.reverse_path, [letter.forward_path], letter.content, options) == {}


def by_aiosmtplib(port: int, letters: Sequence[Letter]) -> None:
    async def send() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="sender.test", timeout=60)
        async with client:
            for letter in letters:
                refused, reply = await client.sendmail(
                    letter.reverse_path, [letter.forward_path], letter.content, mail_options=letter.mail_parameters
                )
                assert (refused, reply[:6]) == ({}, "2.0.0 ")

    asyncio.run(send())


@pytest.mark.parametrize("send", [by_smtplib, by_aiosmtplib])
def test_mail_of_every_kind_sent_in_an_outage_arrives_byte_for_byte_and_once(
    servers: tuple[Relay, FakePrimary], send: Callable[[int, Sequence[Letter]], None]
) -> None:
    relay, fake = servers
    with outage(relay, fake) as arrivals:
        send(relay.port, EVERY_KIND)

    by_kind = {re.search(rb"(?m)^Message-ID: <([^@]+)@", each.content)[1].decode(): each for each in arrivals}
    assert Counter(by_kind.keys()) == Counter(letter.kind for letter in EVERY_KIND)
    assert len(arrivals) == len(EVERY_KIND), "something arrived twice"
    for letter in EVERY_KIND:
        arrived = by_kind[letter.kind]
        assert first_difference(letter.content, without_trace(arrived.content)) == "", letter.kind
        assert (arrived.reverse_path, arrived.forward_paths) == (letter.reverse_path, (letter.forward_path,))
        said = {each for each in arrived.mail_parameters if not each.startswith("SIZE=")}
        assert said == set(letter.mail_parameters), letter.kind


@pytest.mark.parametrize("library", ["smtplib", "aiosmtplib"])
def test_a_message_object_with_addresses_beyond_ascii_arrives_as_it_was_flattened(
    servers: tuple[Relay, FakePrimary], library: str
) -> None:
    relay, fake = servers
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = "Jürgen <jürgen@sender.test>"
    message["To"] = f"grüße@{DOMAIN}"
    message["Subject"] = "Grüße aus 東京"
    message.set_content("Schöne Grüße\n.\n..\n", cte="8bit")

    with outage(relay, fake) as arrivals:
        if library == "smtplib":
            with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=60) as client:
                client.send_message(message)
        else:
            asyncio.run(aiosmtplib.send(message, hostname="127.0.0.1", port=relay.port, timeout=60))

    (arrived,) = arrivals
    assert first_difference(message.as_bytes(), without_trace(arrived.content)) == ""
    assert (arrived.reverse_path, arrived.forward_paths) == ("jürgen@sender.test", (f"grüße@{DOMAIN}",))
    assert "SMTPUTF8" in arrived.mail_parameters
