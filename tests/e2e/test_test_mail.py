"""`fallback-mx test-mail` and `doctor` with the real service."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.ports import free_port
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import DOMAIN, Relay, primary


def tried(relay: Relay, *words: str, expect: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(relay.cli("test-mail", DOMAIN, "--json", *words, expect=expect))
    return told


def steps(told: dict[str, Any]) -> list[str]:
    return [each["step"] for each in told["steps"]]


def is_in(relay: Relay, state: str) -> None:
    relay.wait_for(lambda: relay.primary_state() == state, f"the primary is {state}")


def test_a_primary_that_is_up_and_takes_all_gets_it_through_listener_and_queue() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept")) as relay:
        is_in(relay, "up")
        told = tried(relay)
        [message] = fake.messages
    assert (told["outcome"], told["to"]) == ("delivered", f"postmaster@{DOMAIN}")
    assert steps(told) == ["connect", "mail", "rcpt", "data", "accept", "queued", "delivered"]
    assert all(each["seconds"] >= 0 for each in told["steps"])
    assert (message.reverse_path, message.forward_paths) == ("", (f"postmaster@{DOMAIN}",))
    assert b"Subject: Test of the backup mail exchanger relay.example.net\r\n" in message.content
    assert b"This is a test" in message.content


def test_where_the_door_is_guarded_it_is_said_and_goes_into_the_queue_directly() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        told = tried(relay, "--to", f"you@{DOMAIN}", "--sender", "me@sender.test")
        [message] = fake.messages
    assert told["outcome"] == "delivered"
    assert steps(told) == ["connect", "mail", "rcpt", "queued", "delivered"]
    assert "sends senders to a primary that is up" in told["steps"][3]["said"]
    assert (message.reverse_path, message.forward_paths) == ("me@sender.test", (f"you@{DOMAIN}",))
    assert message.content.startswith(b"Received: from [127.0.0.1] ([127.0.0.1])\r\n\tby relay.example.net")


def test_where_mail_is_played_through_the_primary_has_it_and_nothing_is_queued() -> None:
    with FakePrimary(replies={"final": "250 2.6.0 Stored as 4711"}) as fake:
        with Relay(primary(fake.port, when_up="proxy")) as relay:
            is_in(relay, "up")
            told = tried(relay)
            assert relay.queue_count() == 0
        assert len(fake.messages) == 1
    assert (told["outcome"], told["queue_id"]) == ("played_through", None)
    assert told["steps"][-1]["said"] == "250 2.6.0 Stored as 4711"


def test_while_the_primary_is_down_it_waits_and_that_is_said_at_once() -> None:
    with Relay(primary(free_port())) as relay:
        is_in(relay, "down")
        told = tried(relay, expect=5)
        assert relay.queue_count() == 1
    assert (told["outcome"], steps(told)[-1]) == ("waits", "queued")
    assert told["sentence"].startswith("It is safe in the queue and waits: main is down (")
    assert told["queue_id"] in told["sentence"]


def test_while_the_primary_is_paused_it_waits() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept")) as relay:
        is_in(relay, "up")
        relay.cli("primary", "pause", "main")
        told = tried(relay, expect=5)
    assert "main is paused" in told["sentence"]


def test_what_the_primary_refuses_is_held_and_a_failure() -> None:
    fake = FakePrimary(replies={"rcpt": "550 5.1.1 No such user"})
    with fake, Relay(primary(fake.port, when_up="accept", recovery_guard="0s")) as relay:
        is_in(relay, "up")
        told = tried(relay, expect=1)
    assert told["outcome"] == "held"
    assert "550 5.1.1 No such user" in told["sentence"]


def test_a_primary_that_puts_it_off_is_waited_for_as_long_as_was_said() -> None:
    fake = FakePrimary(replies={"rcpt": "450 4.2.0 Later"})
    with fake, Relay(primary(fake.port, when_up="accept")) as relay:
        is_in(relay, "up")
        told = tried(relay, "--wait", "2s", expect=5)
    assert told["outcome"] == "waits"
    assert "not delivered within 2 s" in told["sentence"]
    assert "deferred" in steps(told)


def test_a_recipient_that_our_listener_refuses_is_a_failure_with_its_words() -> None:
    with Relay(primary(free_port(), unknown_recipients="defer")) as relay:
        is_in(relay, "down")
        told = tried(relay, "--to", f"you@{DOMAIN}", expect=1)
        assert relay.queue_count() == 0
    assert told["outcome"] == "refused"
    assert told["sentence"].startswith("Our listener did not take it: 451")


def test_without_a_service_it_says_so() -> None:
    with Relay(primary(free_port())) as relay:
        relay.stop()
        told = tried(relay, expect=1)
        relay.start()
    assert "could not be spoken to: is the service running?" in told["sentence"]


def test_the_doctor_finds_the_real_listener_well_and_no_relay() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        # Nobody answers as a name server there.
        words = ("doctor", "--json", "--resolver", f"127.0.0.1:{free_port()}", "--timeout", "30s")
        found = {each["check"]: each for each in map(json.loads, relay.cli(*words, expect=1).splitlines())}
        assert relay.queue_count() == 0
    assert [found[check]["level"] for check in ("listener", "relay", "database", "primary")] == ["ok"] * 4, found
    assert found["starttls"]["level"] == "warning"
    assert fake.messages == []
