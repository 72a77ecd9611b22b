"""FAULTS 26: what an operator has decided by the command line stands, whatever the service was doing and does next."""

from __future__ import annotations

from tests.fakes.letters import LETTERS
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary
from tests.fakes.sending import send


def test_what_was_held_or_removed_by_the_command_line_stays_so_through_a_restart_and_a_kill() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        fake.go_away()
        relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
        for _ in range(3):
            send(relay.port, LETTERS[0])
        held, removed, left = (row["id"] for row in relay.cli_json_lines("queue", "list"))
        relay.cli("queue", "hold", held, "--reason", "looks odd")
        relay.cli("queue", "remove", removed, "--yes", "--reason", "not wanted")
        relay.restart()
        relay.kill()
        relay.start()
        fake.answer()
        relay.wait_for(lambda: len(fake.messages) == 1, "what was left alone is delivered")
        relay.wait_for(lambda: relay.queue_count() == 1, "that is on record")

        events = {
            each: [row.event for row in relay.ledger() if row.message_id == each] for each in (held, removed, left)
        }
        assert events[held] == ["accepted", "held"]
        assert events[removed] == ["accepted", "removed"]
        assert events[left] == ["accepted", "delivered"]

        relay.cli("queue", "release", held)
        relay.wait_for(lambda: len(fake.messages) == 2, "what was released is delivered")
