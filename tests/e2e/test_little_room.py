"""A primary that gives us no more than one connection: while that one is being served, it is up."""

from __future__ import annotations

import time

from fallback_mx.smtp.sink import Answer, SinkSession
from tests.fakes.letters import LETTERS
from tests.fakes.outage import outage
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary
from tests.fakes.sending import send

MESSAGES = 60


def test_a_look_that_finds_no_room_beside_our_own_deliveries_is_no_failure_of_the_primary() -> None:
    turned_away: list[SinkSession] = []

    def banner(session: SinkSession, _: str) -> Answer:
        if fake.sink.connections > 1:
            turned_away.append(session)
            return "421 4.7.0 Too many connections from you"
        return None

    def final(session: SinkSession, _: str) -> Answer:
        time.sleep(0.02)  # slow, so that there are looks while mail is going out
        return None

    with FakePrimary() as fake, Relay(primary(fake.port, interval="200ms")) as relay:
        with outage(relay, fake) as arrivals:
            for _ in range(MESSAGES):
                send(relay.port, LETTERS[0])
            fake.sink.replies = {"banner": banner, "final": final}
        log = relay.log_file.read_text()
        assert len(arrivals) == MESSAGES
        assert len(turned_away) > 1, "expected a second connection to have been tried"
        since = log[log.index("event=outage_ended") :]
        assert "event=primary_state" not in since, since
        assert since.count("event=drain_started") == 1
        spans = [row for row in relay.cli_json_lines("outage", "list", "--blips") if row["kind"] == "outage"]
        assert len(spans) == 1, spans
