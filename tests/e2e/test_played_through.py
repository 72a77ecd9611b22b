"""`when_up = "proxy"` with the real service, in one process and in several."""

from __future__ import annotations

import smtplib
import urllib.request

import pytest

from fallback_mx.smtp.sink import Act, Answer, SinkSession
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

workers = pytest.mark.parametrize("workers", [1, 2])
LETTER = b"Subject: one\r\n\r\nplayed\r\n"


def relay_to(fake: FakePrimary, workers: int, **settings: object) -> Relay:
    server = {"workers": workers, "max_message_size": "200MB"}
    return Relay(primary(fake.port, when_up="proxy", **settings), server=server)


def is_in(relay: Relay, state: str) -> None:
    def holds() -> bool:
        return [row["state"] for row in relay.status()["primaries"]] == [state]

    relay.wait_for(holds, f"the primary is {state}")


def send(relay: Relay, content: bytes = LETTER) -> str:
    with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=60) as client:
        client.ehlo()
        client.mail("a@sender.test")
        client.rcpt("u@example.test")
        code, text = client.data(content)
    return f"{code} {text.decode()}"


def metric(relay: Relay, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http_port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@workers
def test_while_the_primary_is_up_its_reply_is_the_senders_and_nothing_is_queued(workers: int) -> None:
    with FakePrimary(replies={"final": "250 2.6.0 Stored as 4711"}) as fake, relay_to(fake, workers) as relay:
        is_in(relay, "up")
        assert send(relay) == "250 2.6.0 Stored as 4711"
        assert [message.content.partition(b"Subject:")[2] for message in fake.messages] == [b" one\r\n\r\nplayed\r\n"]
        assert relay.queue_count() == 0
        relay.wait_for(lambda: metric(relay, "fallback_mx_proxied_messages_total") == 1, "it is counted")
        assert "event=proxied primary=main" in relay.log_tail()


@workers
def test_a_primary_that_goes_away_is_looked_at_when_it_does_not_take_mail(workers: int) -> None:
    with FakePrimary() as fake, relay_to(fake, workers, interval="1h", fall=3) as relay:
        is_in(relay, "up")
        fake.go_away()
        assert "Queued as" in send(relay)
        # The next probe would be an hour away.
        is_in(relay, "falling")
        assert relay.queue_count() == 1


@workers
def test_no_sender_makes_a_primary_fall_that_is_there(workers: int) -> None:
    def answer(session: SinkSession, path: str) -> Answer:
        return {"policy": "421 4.7.0 Not from you", "drop": Act.DROP}.get(path.partition("@")[0])

    with FakePrimary(replies={"rcpt": answer}) as fake, relay_to(fake, workers, interval="1h", fall=1) as relay:
        is_in(relay, "up")
        probes = fake.sink.connection_count
        for name in ("policy", "drop") * 3:
            with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=60) as client:
                client.ehlo()
                client.mail("a@sender.test")
                code, text = client.rcpt(f"{name}@example.test")
                assert (code, text[:5]) == (451, b"4.3.2")
                assert client.rcpt("u@example.test")[0] == 451
        relay.wait_for(lambda: fake.sink.connection_count > probes + 12, "it was looked at")
        assert send(relay).startswith("250 2.0.0 Ok")
        assert relay.status()["primaries"][0]["state"] == "up"
        assert relay.outages() == []
        assert relay.queue_count() == 0


@workers
def test_a_message_whose_reply_is_lost_is_queued_as_ambiguous_and_delivered(workers: int) -> None:
    answers: list[Answer] = [Act.DROP]

    def final(session: SinkSession, argument: str) -> Answer:
        return answers.pop() if answers else None

    with FakePrimary(replies={"final": final}) as fake, relay_to(fake, workers) as relay:
        is_in(relay, "up")
        queue_id = send(relay).removeprefix("250 2.0.0 Queued as ")
        relay.wait_for(lambda: relay.queue_count() == 0, "it is delivered")
        (message,) = fake.messages
        assert queue_id.encode() in message.content
        (story,) = relay.cli_json_lines("queue", "show", queue_id)
        assert [row["event"] for row in story["ledger"]] == ["accepted", "ambiguous", "delivered"]


def test_large_mail_is_played_through_in_a_fixed_memory() -> None:
    with FakePrimary() as fake, relay_to(fake, 1) as relay:
        fake.sink.keep = False
        is_in(relay, "up")
        send(relay)
        before = relay.rss()
        assert send(relay, b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 100_000).startswith("250")
        assert relay.rss() - before < 20_000_000
        assert relay.queue_count() == 0
