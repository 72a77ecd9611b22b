"""One primary's trouble never delays another's mail, by the real service."""

from __future__ import annotations

from fallback_mx.smtp.sink import Act
from tests.e2e.test_outage import content, send
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

MANY = 40


def test_a_primary_that_says_nothing_any_more_does_not_delay_the_mail_of_another() -> None:
    with FakePrimary() as hole, FakePrimary() as fine:
        # Looked at once and then no more, so that it goes on counting as up.
        silent = primary(hole.port, name="hole", domains=["hole.test"], when_up="accept", interval="1h")
        with Relay(silent, primary(fine.port, when_up="accept")) as relay:
            for name in ("hole", "main"):
                relay.wait_for(lambda name=name: relay.primary_state(name) == "up", f"{name} is up")  # type: ignore[misc]
            hole.sink.replies["banner"] = Act.SILENT
            send(relay, *map(content, range(MANY)), recipients=("u@hole.test",))
            relay.wait_for(lambda: hole.sink.connections > 0, "the silent primary is being waited for")
            send(relay, *map(content, range(MANY)))
            relay.wait_for(lambda: len(fine.messages) == MANY, "all mail for the other has arrived")
            assert hole.sink.connections == 1, "expected one connection to be waited for"

            def waiting() -> tuple[int, str]:
                (row,) = [row for row in relay.status()["primaries"] if row["name"] == "hole"]
                return row["queue"]["pending_messages"], row["drain"]["phase"]

            relay.wait_for(lambda: waiting() == (MANY, "canary"), "what waits is told, and for what")
            relay.kill()
