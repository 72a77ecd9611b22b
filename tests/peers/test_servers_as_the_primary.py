"""Postfix, Exim, OpenSMTPD and aiosmtpd as the primary: what came while each was away arrives once, as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from tests.fakes import exim, opensmtpd, postfix
from tests.fakes.aiosmtpd_server import AiosmtpdServer
from tests.fakes.exim import Exim
from tests.fakes.letters import LETTERS, first_difference
from tests.fakes.opensmtpd import OpenSmtpd
from tests.fakes.postfix import Postfix
from tests.fakes.relay import DOMAIN, Relay, primary
from tests.fakes.sending import send

pytestmark = pytest.mark.peers


class Server(Protocol):
    @property
    def port(self) -> int: ...
    def answer(self) -> None: ...
    def stop(self) -> None: ...
    def messages(self) -> list[bytes]: ...


# What each lacks here, and how to make one.
SERVERS: dict[str, tuple[Callable[[], str | None], Callable[[], AbstractContextManager[Server]]]] = {
    "postfix": (postfix.missing, lambda: Postfix.primary(DOMAIN)),
    "exim": (exim.missing, Exim.primary),
    "opensmtpd": (opensmtpd.missing, OpenSmtpd.primary),
    "aiosmtpd": (lambda: None, AiosmtpdServer),
}
LETTERS_HERE = [letter for letter in LETTERS if not letter.is_wide]


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    missing, make = SERVERS[request.param]
    if lacking := missing():
        pytest.skip(lacking)
    with make() as one:
        yield one


def test_what_came_in_while_the_primary_was_away_arrives_once_and_as_it_was_sent(server: Server) -> None:
    with Relay(primary(server.port)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        server.stop()
        relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
        for letter in LETTERS_HERE:
            send(relay.port, letter)
        server.answer()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty", timeout=60)
        relay.wait_for(lambda: len(server.messages()) >= len(LETTERS_HERE), "the mail is in its box")
        delivered = [row for row in relay.ledger() if row.event == "delivered"]

    assert len(delivered) == len(LETTERS_HERE)
    assert all(row.detail.startswith("250 ") for row in delivered)
    arrived = {subject(content): content for content in server.messages()}
    assert len(server.messages()) == len(arrived) == len(LETTERS_HERE)
    for letter in LETTERS_HERE:
        # In a box lines end with LF, whatever they ended with on the wire.
        sent = letter.content.replace(b"\r\n", b"\n")
        found = arrived[letter.kind].replace(b"\r\n", b"\n")
        assert first_difference(sent, found[found.index(b"From: <a@sender.test>") :]) == "", letter.kind


def subject(content: bytes) -> str:
    found = re.search(rb"(?m)^Subject: (.*?)\r?$", content)
    assert found is not None
    return found[1].decode()
