"""Watching with the real service: slowness and other ports, from the configuration to the record."""

from __future__ import annotations

import smtplib
import socket
import time
from typing import Any

from fallback_mx.smtp.sink import Answer, SinkSession
from tests.fakes.ports import free_port
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary


def lines(relay: Relay, kind: str) -> list[dict[str, Any]]:
    return [line for line in relay.cli_json_lines("outage", "list") if line["kind"] == kind]


def watching(relay: Relay) -> dict[str, Any]:
    found: dict[str, Any] = relay.status()["primaries"][0]["watching"]
    return found


def is_in(relay: Relay, state: str) -> None:
    relay.wait_for(lambda: relay.primary_state() == state, f"the primary is {state}")


def test_a_slow_primary_stays_up_and_its_slow_time_is_on_record() -> None:
    delay = 0.2

    def ehlo(_session: SinkSession, _argument: str) -> Answer:
        time.sleep(delay)  # the primary's own thread
        return None

    with (
        FakePrimary(replies={"ehlo": ehlo}) as fake,
        Relay(primary(fake.port, slow_after="100ms", slow_for="1s")) as relay,
    ):
        relay.wait_for(lambda: watching(relay)["slow_since"] is not None, "it is known to be slow")
        assert relay.primary_state() == "up"
        assert "main is slow" in relay.status()["sentence"]
        assert watching(relay)["phases"]["ehlo"] >= delay
        delay = 0.0
        relay.wait_for(lambda: watching(relay)["slow_since"] is None, "it is fast again")
        (slow,) = lines(relay, "slow")
        assert (slow["cause"]["phase"], slow["ended_at"] is not None) == ("ehlo", True)
        assert relay.outages() == []
        assert "was slow" in relay.cli("outage", "show", slow["id"])


def test_a_port_that_decides_makes_an_outage_and_one_that_alerts_does_not() -> None:
    deciding, alerting = free_port(), free_port()
    with FakePrimary() as fake:
        table = primary(fake.port, down_ports=[deciding], alert_ports=[f"127.0.0.1:{alerting}"])
        with (
            socket.create_server(("127.0.0.1", deciding)),
            socket.create_server(("127.0.0.1", alerting)) as other,
            Relay(table) as relay,
        ):
            is_in(relay, "up")
            other.close()
            relay.wait_for(lambda: "event=port_failed" in relay.log_tail(200), "the port is told to be closed")
            assert relay.primary_state() == "up"
        # Both are closed now, and the service is gone: another one finds it so.
        with Relay(table) as relay:
            is_in(relay, "down")
            (outage,) = relay.outages()
            assert outage["cause"] == {
                "phase": "port",
                "detail": f"port {deciding}: 127.0.0.1 port {deciding}: connection refused",
            }
            assert {line["port"] for line in lines(relay, "port")} == {str(deciding), f"127.0.0.1:{alerting}"}


def test_mail_that_came_in_an_outage_stands_in_its_evidence() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        with smtplib.SMTP("127.0.0.1", relay.port) as client:
            for _ in range(3):
                client.sendmail("a@sender.test", ["u@example.test"], b"Subject: x\r\n\r\ny\r\n")
        fake.answer()
        is_in(relay, "up")
        relay.wait_for(lambda: relay.outages()[0]["ended_at"] is not None, "its end is on record")
        (outage,) = relay.outages()
        assert outage["mail_accepted"] == 3
        assert outage["failures"] >= 2
        assert outage["last_failed_at"] >= outage["started_at"]
        told = relay.cli("outage", "show", outage["id"])
        assert "Meanwhile 3 messages came in here" in told
        assert "the last of" in told
