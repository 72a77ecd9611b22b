"""Postfix, Exim and OpenSMTPD as the sender's server: what each put on the wire in an outage is what the primary gets.

A server adds its own Received field, so what it was handed is not the measure. Between it and the relay stands a tap
that keeps what it really sent.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pytest

from tests.fakes import exim, opensmtpd, postfix
from tests.fakes.exim import Exim
from tests.fakes.letters import LETTERS, Letter, first_difference, without_trace
from tests.fakes.opensmtpd import OpenSmtpd
from tests.fakes.outage import outage
from tests.fakes.postfix import Postfix
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary
from tests.fakes.tap import Tap

pytestmark = pytest.mark.peers


class Sender(Protocol):
    @property
    def port(self) -> int: ...
    def log_tail(self, lines: int = 30) -> str: ...


# What each lacks here, and how to make one whose only way to the domain is a port of 127.0.0.1.
SERVERS: dict[str, tuple[Callable[[], str | None], Callable[[int], AbstractContextManager[Sender]]]] = {
    "postfix": (postfix.missing, Postfix.sending_server),
    "exim": (exim.missing, Exim),
    "opensmtpd": (opensmtpd.missing, OpenSmtpd),
}


@dataclass(frozen=True)
class Route:
    """From a server, whose only way to the domain is the relay, by the tap to the relay and on to the primary."""

    sender: Sender
    tap: Tap
    relay: Relay
    primary: FakePrimary

    def hand_in(self, letter: Letter) -> None:
        """Give the letter to the sender's server; returns when the relay has it."""
        with smtplib.SMTP("127.0.0.1", self.sender.port, local_hostname="client.test", timeout=60) as client:
            client.ehlo()
            if letter.is_wide and not client.has_extn("smtputf8"):
                offered = " ".join(client.esmtp_features).upper()
                pytest.skip(f"this build of {type(self.sender).__name__} has no SMTPUTF8; its EHLO offers {offered}")
            options = letter.mail_parameters
            assert client.sendmail(letter.reverse_path, [letter.forward_path], letter.content, options) == {}
        self.relay.wait_for(lambda: self.relay.queue_count() == 1, "the relay has the message", timeout=60)


@pytest.fixture(scope="module", params=sorted(SERVERS))
def route(request: pytest.FixtureRequest) -> Iterator[Route]:
    missing, sender_to = SERVERS[request.param]
    if lacking := missing():
        pytest.skip(lacking)
    with (
        FakePrimary() as fake,
        Relay(primary(fake.port)) as relay,
        Tap(relay.port) as tap,
        sender_to(tap.port) as sender,
    ):
        yield Route(sender, tap, relay, fake)


@pytest.mark.parametrize("letter", LETTERS, ids=[letter.kind for letter in LETTERS])
def test_what_the_server_sent_in_an_outage_arrives_byte_for_byte_and_once(route: Route, letter: Letter) -> None:
    with outage(route.relay, route.primary) as arrivals:
        route.tap.taken.clear()
        route.hand_in(letter)

    (sent,) = route.tap.taken
    (arrived,) = arrivals
    assert first_difference(sent.content, without_trace(arrived.content)) == ""
    assert sent.content.endswith(b"\r\n\r\n" + letter.body), "the server changed the body itself"
    assert (arrived.reverse_path, arrived.forward_paths) == (letter.reverse_path, (letter.forward_path,))
    assert ("SMTPUTF8" in arrived.mail_parameters) == ("SMTPUTF8" in sent.parameters) == letter.is_wide
