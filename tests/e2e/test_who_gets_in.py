"""Who gets in, with the real service: the same promises with one process and with two."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

BOTH = pytest.mark.parametrize("workers", [1, 2])
NOBODY = 1  # a port where no primary answers
TIMES = 12  # by so many connections every process is met


def rcpt(relay: Relay, name: str = "u", reverse_path: str = "a@sender.test") -> str:
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=30) as smtp:
        smtp.ehlo()
        smtp.mail(reverse_path)
        code, text = smtp.rcpt(f"{name}@example.test")
    return f"{code} {text.decode()}"[:9]


def everywhere(relay: Relay, name: str = "u") -> set[str]:
    """What a recipient is answered by every process."""
    return {rcpt(relay, name) for _ in range(TIMES)}


def until(relay: Relay, name: str, reply: str) -> None:
    relay.wait_for(lambda: everywhere(relay, name) == {reply}, f"{name} is answered {reply}")


def send(relay: Relay, name: str) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=30) as smtp:
        smtp.sendmail("a@sender.test", [f"{name}@example.test"], b"Subject: one\r\n\r\nout\r\n")


@contextmanager
def in_an_outage(workers: int, **settings: object) -> Iterator[Relay]:
    with Relay(primary(NOBODY, **settings), server={"workers": workers}) as relay:
        relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
        yield relay


@BOTH
def test_a_recipient_that_is_not_in_the_file_is_refused_in_an_outage(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "recipients"
    path.write_text("bob@example.test\n")
    with in_an_outage(workers, recipients_file=str(path)) as relay:
        until(relay, "carol", "550 5.1.1")
        for good in ("bob", "Bob", "postmaster"):
            assert everywhere(relay, good) == {"250 2.1.5"}
        counted = 'fallback_mx_refused_total{reason="recipient"}'
        relay.wait_for(lambda: counted in relay.http("/metrics")[1], "refusals are counted")


@BOTH
def test_what_the_operator_imports_and_forgets_is_noticed(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "by-hand"
    path.write_text("bob@example.test\n")
    with in_an_outage(workers) as relay:
        assert everywhere(relay, "carol") == {"250 2.1.5"}
        relay.cli("recipients", "import", "--primary", "main", str(path))
        until(relay, "carol", "550 5.1.1")
        path.write_text("carol@example.test\nbob@example.test\n")
        relay.cli("recipients", "import", "--primary", "main", str(path))
        until(relay, "carol", "250 2.1.5")


@BOTH
def test_a_refused_delivery_teaches_and_the_next_outage_knows_it(workers: int) -> None:
    def only_bob(session: object, path: str) -> str:
        return "250 2.1.5 Ok" if path == "bob@example.test" else "550 5.1.1 no such user"

    with FakePrimary(replies={"rcpt": only_bob}) as fake:
        fake.go_away()
        with Relay(primary(fake.port, recovery_guard="0s"), server={"workers": workers}) as relay:
            relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
            for name in ("bob", "carol"):
                send(relay, name)
            fake.answer()
            relay.wait_for(lambda: len(fake.messages) == 1, "bob has his mail")
            relay.wait_for(lambda: "event=held" in relay.log_tail(200), "carol's is held")
            fake.go_away()
            relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down again")
            until(relay, "carol", "550 5.1.1")
            assert everywhere(relay, "bob") == {"250 2.1.5"}
            relay.restart()
            until(relay, "carol", "550 5.1.1")


@BOTH
def test_what_the_primary_said_while_it_was_up_counts_in_the_outage(workers: int) -> None:
    def only_bob(session: object, path: str) -> str:
        return "250 2.1.5 Ok" if path == "bob@example.test" else "550 5.1.1 no such user"

    with FakePrimary(replies={"rcpt": only_bob}) as fake:
        settings = primary(fake.port, call_ahead_per_minute=6000)
        with Relay(settings, server={"workers": workers}) as relay:
            relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
            until(relay, "carol", "451 4.3.2")
            relay.wait_for(lambda: "carol@" in relay.cli("recipients", "list", "--json"), "the primary was asked")
            fake.go_away()
            relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
            until(relay, "carol", "550 5.1.1")
            assert everywhere(relay, "dave") == {"250 2.1.5"}


@BOTH
def test_a_sender_that_comes_again_is_taken_by_whichever_process_it_meets(workers: int) -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, grace_after="1s"), server={"workers": workers}) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        assert rcpt(relay) == "451 4.3.2"
        time.sleep(1.5)
        assert everywhere(relay) == {"250 2.1.5"}
        assert rcpt(relay, reverse_path="other@sender.test") == "451 4.3.2"
        assert "event=let_in reason=grace" in relay.log_tail(200)


@BOTH
def test_an_unknown_recipient_is_taken_when_its_sender_comes_again(workers: int) -> None:
    with in_an_outage(workers, greylist="1s") as relay:
        assert rcpt(relay) == "451 4.7.1"
        time.sleep(1.5)
        assert everywhere(relay) == {"250 2.1.5"}


@BOTH
def test_who_speaks_before_the_greeting_is_cut_off_and_a_reload_ends_that(workers: int) -> None:
    def early(relay: Relay) -> bytes:
        with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as client:
            client.sendall(b"EHLO junk.test\r\n")
            return client.recv(100)[:3]

    with Relay(primary(NOBODY), server={"workers": workers, "greeting_delay": "2s"}) as relay:
        assert {early(relay) for _ in range(TIMES)} == {b"554"}
        assert rcpt(relay) == "250 2.1.5"
        relay.config_file.write_text(relay.config_file.read_text().replace('"2s"', '"0s"'))
        os.kill(relay.pid, signal.SIGHUP)
        relay.wait_for(lambda: {early(relay) for _ in range(TIMES)} == {b"220"}, "nobody waits any more")
