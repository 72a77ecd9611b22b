"""The way to the primary, with the real service: loops, logins, TLS of one's own choosing, and several hosts."""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest

from tests.fakes.identities import Identity
from tests.fakes.ports import free_port
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary
from tests.fakes.trusting_sink import PASSWORD, USERNAME, XCLIENT, TrustingSink


def send(relay: Relay, messages: int = 1) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=60) as client:
        for _ in range(messages):
            client.sendmail("a@sender.test", "u@example.test", b"Subject: one\r\n\r\nhello\r\n")


def is_in(relay: Relay, state: str) -> None:
    relay.wait_for(lambda: relay.primary_state() == state, f"the primary is {state}")


def log_lines(relay: Relay, event: str) -> list[str]:
    return [line for line in relay.log_tail(100_000).splitlines() if f"event={event} " in line]


def test_a_primary_that_is_we_ourselves_gets_no_mail_and_the_log_says_so_once() -> None:
    """FAULTS 32: it is recognised by its greeting, its mail stays here, and somebody is told."""
    replies = {"banner": "220 relay.example.net ESMTP"}
    with FakePrimary(replies) as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "down")
        send(relay)
        relay.wait_for(lambda: fake.sink.connection_count >= 5, "it is looked at again")
        assert (relay.queue_count(), fake.messages) == (1, [])
        [line] = log_lines(relay, "loop")
        assert "primary=main" in line
        assert "level=error" in line
        assert "our own name, relay.example.net" in line
        del fake.sink.replies["banner"]
        is_in(relay, "up")
        relay.wait_for(lambda: relay.queue_count() == 0, "the mail is delivered")


@pytest.mark.parametrize("when_up", ["accept", "proxy"])
def test_a_login_that_fails_makes_the_primary_down_and_needs_no_restart_to_be_mended(
    tmp_path: Path, when_up: str
) -> None:
    path = tmp_path / "password"
    path.write_text("wrong")
    identity = Identity("127.0.0.1")
    sink = TrustingSink("AUTH PLAIN", tls=identity.context)
    settings = {"username": USERNAME, "password_file": str(path), "tls": "verify", "tls_pins": [str(identity.pin)]}
    table = primary(0, when_up=when_up, **settings)
    with FakePrimary(sink=sink) as fake, Relay({**table, "port": fake.port}, server={"workers": 2}) as relay:
        is_in(relay, "down")
        send(relay)
        relay.wait_for(lambda: fake.sink.connection_count >= 4, "it is looked at again")
        [line] = log_lines(relay, "login_failed")
        assert "backup was not let in: 535 5.7.8 Not you" in line
        assert (relay.queue_count(), fake.messages) == (1, [])
        path.write_text(PASSWORD, encoding="utf-8")
        is_in(relay, "up")
        relay.wait_for(lambda: relay.queue_count() == 0, "the mail is delivered")
        send(relay)
        relay.wait_for(lambda: len(fake.messages) == 2, "the next one too")
        assert "wrong" not in relay.log_tail(100_000)
        assert PASSWORD not in relay.log_tail(100_000)


def test_a_primary_with_another_key_than_the_pinned_one_is_not_up() -> None:
    """Up means deliverable: the probe asks what deliveries ask."""
    shown, pinned = Identity("127.0.0.1"), Identity("127.0.0.1")
    sink = TrustingSink(tls=shown.context)
    with FakePrimary(sink=sink) as fake:
        table = primary(fake.port, tls="verify", tls_pins=[str(pinned.pin)])
        with Relay(table) as relay:
            is_in(relay, "down")
            send(relay)
            assert fake.messages == []
            assert f"its key is not among tls_pins: it is {shown.pin}" in relay.log_tail(1000)


def test_where_the_first_host_does_not_answer_the_second_gets_the_mail() -> None:
    with FakePrimary() as fake:
        table = primary(free_port(), when_up="accept", hosts=[f"127.0.0.2:{free_port()}", f"127.0.0.1:{fake.port}"])
        del table["host"]
        with Relay(table) as relay:
            is_in(relay, "up")
            send(relay)
            relay.wait_for(lambda: len(fake.messages) == 1, "the mail is delivered")
            [row] = relay.cli_json_lines("primary", "list")
            assert row["hosts"][1] == f"127.0.0.1:{fake.port}"


def test_mail_of_many_clients_is_drained_through_a_primary_that_takes_one_client_a_connection() -> None:
    """As Postfix does: who has said XCLIENT is the client from then on, who may not say it."""
    offers = {}

    def ehlo(session, argument) -> str | None:
        offers[session] = offers.get(session, 0) + 1
        return None if offers[session] == 1 else "250-sink.test\r\n250 PIPELINING"

    sink = TrustingSink(XCLIENT, replies={"ehlo": ehlo})
    with FakePrimary(sink=sink) as fake:
        table = primary(fake.port, announce_client="xclient", grace_after="off")
        with Relay(table, server={"xclient_from": ["127.0.0.1"]}) as relay:
            is_in(relay, "up")
            fake.go_away()
            is_in(relay, "down")
            for number in range(20):
                with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=60) as client:
                    client.ehlo()
                    client.docmd(f"XCLIENT ADDR=192.0.2.{number % 7}")
                    client.ehlo()
                    client.sendmail("a@sender.test", "u@example.test", b"Subject: one\r\n\r\nhello\r\n")
            fake.answer()
            relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty", timeout=60)
            assert len(fake.messages) == 20
            told = {line.split(b" ")[2] for line in fake.sink.commands if line.startswith(b"XCLIENT")}
            assert told == {b"ADDR=192.0.2.%d" % number for number in range(7)}
