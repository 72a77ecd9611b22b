"""Pause, force and resume against the real service, which notices what another process has ordered."""

from __future__ import annotations

import smtplib

import pytest

from tests.e2e.test_outage import content, is_in, send
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary


def drain(relay: Relay) -> dict[str, object]:
    (row,) = relay.status()["primaries"]
    return dict(row["drain"])


def phase_is(relay: Relay, phase: str) -> None:
    relay.wait_for(lambda: drain(relay)["phase"] == phase, f"the drain is {phase}")


def log_has(relay: Relay, *words: str) -> bool:
    return any(all(word in line for word in words) for line in relay.log_file.read_text().splitlines())


def test_a_pause_keeps_mail_here_through_a_restart_and_a_resume_lets_it_go() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept")) as relay:
        is_in(relay, "up")
        relay.cli("primary", "pause", "main", "--for", "2h", "--reason", "disks")
        phase_is(relay, "paused")
        assert drain(relay)["reason"] == "disks"
        assert send(relay, content(1))[0].startswith("250 ")
        relay.restart()
        is_in(relay, "up")
        phase_is(relay, "paused")
        assert (relay.queue_count(), fake.messages) == (1, [])
        (status,) = relay.cli_json_lines("status")
        assert "main is paused for 1 h 59 min more (disks); 1 message is safe" in status["sentence"]
        assert 'fallback_mx_primary_paused{primary="main"} 1.0' in relay.http("/metrics")[1]
        relay.cli("primary", "resume", "main")
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
        assert len(fake.messages) == 1
        assert log_has(relay, "event=order_began", "what=pause", "reason=disks", "until=")
        assert log_has(relay, "event=order_ended", "what=pause")


def test_a_pause_ends_by_itself() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept")) as relay:
        is_in(relay, "up")
        relay.cli("primary", "pause", "main", "--for", "3s")
        phase_is(relay, "paused")
        send(relay, content(1))
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
        assert log_has(relay, "event=order_ended", "what=pause")


def test_a_primary_that_is_forced_down_gets_nothing_and_its_mail_is_taken_without_an_outage_on_record() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtplib.SMTP("127.0.0.1", relay.port).sendmail("a@sender.test", "u@example.test", content(1))
        relay.cli("primary", "force", "main", "down", "--for", "2h")
        phase_is(relay, "waiting")
        assert send(relay, content(1))[0].startswith("250 ")
        assert relay.primary_state() == "up"
        assert (relay.queue_count(), fake.messages) == (1, [])
        relay.cli("primary", "resume", "main")
        relay.wait_for(lambda: len(fake.messages) == 1, "the message arrives")
        assert relay.outages() == []


def test_a_primary_that_is_forced_up_is_delivered_to_though_it_counts_as_down() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, interval="1h", rise=9, fall=1)) as relay:
        is_in(relay, "up")
        fake.go_away()
        relay.restart()
        is_in(relay, "down")
        send(relay, content(1))
        fake.answer()
        relay.cli("primary", "force", "main", "up")
        relay.wait_for(lambda: len(fake.messages) == 1, "the message arrives")
        assert relay.primary_state() in ("down", "rising")
        (outage,) = relay.outages()
        assert outage["ended_at"] is None
        assert 'fallback_mx_primary_forced{primary="main",state="up"} 1.0' in relay.http("/metrics")[1]


def test_status_asks_a_running_service_how_its_drains_go_and_says_nothing_where_none_answers() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept", max_connections=3)) as relay:
        is_in(relay, "up")
        (status,) = relay.cli_json_lines("status")
        told = status["primaries"][0]["drain"]
        assert (told["phase"], told["max_connections"], told["seconds_left"]) == ("idle", 3, None)
        assert "main\tidle\t0\t" in relay.cli("status")
        relay.stop()
        (status,) = relay.cli_json_lines("status")
        assert status["primaries"][0]["drain"] is None
