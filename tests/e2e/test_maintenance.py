"""Maintenance against the real service: mail is taken, alarms are quiet, and the outage is on record."""

from __future__ import annotations

from tests.e2e.test_orders import log_has
from tests.e2e.test_outage import content, is_in, send
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary


def alarms(relay: Relay) -> list[str]:
    lines = relay.log_file.read_text().splitlines()
    return [line for line in lines if "level=warning" in line and ("event=outage_" in line or "event=port_" in line)]


def is_under_maintenance(relay: Relay, is_on: bool) -> None:
    def fact() -> bool:
        (row,) = relay.status()["primaries"]
        return (row["maintenance"]["on"] is not None) is is_on

    relay.wait_for(fact, f"maintenance is {'on' if is_on else 'over'}")


def test_in_maintenance_nobody_is_alarmed_mail_is_taken_and_the_outage_is_on_record() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        relay.cli("maintenance", "add", "main", "--start", "now", "--for", "1h", "--reason", "new disks")
        is_under_maintenance(relay, True)
        fake.go_away()
        is_in(relay, "down")
        assert send(relay, content(1))[0].startswith("250 ")
        (told,) = relay.cli_json_lines("status")
        assert "main is under maintenance for 59 min more (new disks)" in told["sentence"]
        assert told["primaries"][0]["maintenance"] == relay.status()["primaries"][0]["maintenance"]
        assert 'fallback_mx_primary_maintenance{primary="main"} 1.0' in relay.http("/metrics")[1]
        fake.answer()
        relay.wait_for(lambda: len(fake.messages) == 1, "the message arrives")
        (outage,) = relay.outages()
        assert outage["ended_at"] is not None
        assert log_has(relay, "level=info", "event=outage_started", "maintenance=True")
        assert log_has(relay, "level=info", "event=outage_ended", "maintenance=True")
        assert alarms(relay) == []


def test_a_primary_that_is_still_away_when_its_maintenance_is_over_alarms_then() -> None:
    with FakePrimary() as fake, FakePrimary() as other, Relay(primary(fake.port, alert_ports=[other.port])) as relay:
        is_in(relay, "up")
        relay.cli("maintenance", "add", "--all", "--start", "now", "--for", "1h")
        is_under_maintenance(relay, True)
        fake.go_away()
        other.go_away()
        is_in(relay, "down")
        relay.wait_for(lambda: log_has(relay, "level=info", "event=port_failed"), "the port is told of")
        assert alarms(relay) == []
        relay.cli("maintenance", "cancel", "1", "--reason", "it is taking too long")
        is_under_maintenance(relay, False)
        outage, port = alarms(relay)
        assert "event=outage_started primary=main started_at=" in outage
        assert f"event=port_failed primary=main port={other.port} started_at=" in port
        assert log_has(relay, "event=maintenance_ended", "state=down")


def test_maintenance_is_known_again_after_a_restart() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        relay.cli("maintenance", "add", "main", "--start", "now", "--for", "1h")
        fake.go_away()
        relay.restart()
        is_in(relay, "down")
        assert alarms(relay) == []
