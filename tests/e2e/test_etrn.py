"""A primary that is back asks for its mail with ETRN (RFC 1985), in one process and in several."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

import pytest

from fallback_mx.smtp.sink import SinkSession
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

LONG = {"interval": "30m", "rise": 1, "fall": 1}


@pytest.fixture
def fake() -> Iterator[FakePrimary]:
    with FakePrimary() as fake:
        yield fake


def client(relay: Relay, address: str = "127.0.0.1") -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", relay.port, local_hostname="primary.test", timeout=30, source_address=(address, 0))


def etrn(relay: Relay, node: str = "example.test") -> tuple[int, bytes]:
    with client(relay) as smtp:
        smtp.ehlo()
        return smtp.docmd("ETRN", node)


def is_offered(relay: Relay, address: str = "127.0.0.1") -> bool:
    with client(relay, address) as smtp:
        smtp.ehlo()
        return smtp.has_extn("etrn")


def send(relay: Relay) -> None:
    with client(relay) as smtp:
        smtp.sendmail("a@sender.test", ["u@example.test"], b"Subject: x\r\n\r\nhello\r\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_primary_that_was_down_and_asks_is_looked_at_and_gets_its_mail(fake: FakePrimary, workers: int) -> None:
    fake.go_away()
    with Relay(primary(fake.port, **LONG), server={"workers": workers}) as relay:
        relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
        relay.wait_for(lambda: is_offered(relay), "its address is looked up")
        assert etrn(relay) == (251, b"2.0.0 OK, no messages waiting for example.test")
        send(relay)
        fake.answer()
        relay.wait_for(lambda: etrn(relay)[0] == 250, "what was said a moment ago is not said any more", interval=0.5)
        relay.wait_for(lambda: len(fake.messages) == 1, "the message is delivered")
        assert relay.primary_state() == "up"


@pytest.mark.parametrize("workers", [1, 2])
def test_mail_that_waits_out_a_backoff_goes_at_once_when_the_primary_asks(workers: int) -> None:
    full = True

    def rcpt(session: SinkSession, path: str) -> str | None:
        return "452 4.3.1 full" if full else None

    with (
        FakePrimary({"rcpt": rcpt}) as fake,
        Relay(primary(fake.port, when_up="accept", **LONG), server={"workers": workers}) as relay,
    ):
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        send(relay)
        relay.wait_for(lambda: "event=deferred" in relay.log_tail(), "the message was put off")
        full = False
        assert fake.messages == []
        relay.wait_for(lambda: is_offered(relay), "its address is looked up")
        assert etrn(relay, "@example.test") == (253, b"2.0.0 OK, 1 pending messages for example.test started")
        relay.wait_for(lambda: len(fake.messages) == 1, "the message is delivered")
        assert "event=etrn primary=main client=127.0.0.1 messages=1 state=up" in relay.log_tail()


def test_only_those_who_are_configured_may_ask(fake: FakePrimary) -> None:
    with Relay(primary(fake.port, etrn_from=["127.0.0.7"], **LONG), server={"workers": 2}) as relay:
        assert is_offered(relay, "127.0.0.7")
        assert not is_offered(relay)
        assert etrn(relay)[0] == 459
