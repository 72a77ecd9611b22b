"""A primary whose whole room our own deliveries take up has none left for a probe: that is no outage."""

from __future__ import annotations

from tests.e2e.test_outage import content, is_in, send
from tests.fakes.frail import FrailSink
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

MANY = 1500
OFTEN = {"interval": "100ms", "fall": 1}


def test_a_primary_that_has_no_room_for_a_probe_while_it_takes_our_mail_stays_up() -> None:
    sink = FrailSink(room=1, fatal=10)
    plenty = {"max_messages_per_session": MANY}
    with FakePrimary(sink=sink) as fake, Relay(primary(fake.port, **OFTEN), server=plenty) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        send(relay, *map(content, range(MANY)))
        fake.answer()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
        assert len(fake.messages) == MANY
        assert sink.refused_count > 0, "expected a probe to find no room"
        changes = [line for line in relay.log_file.read_text().splitlines() if "event=primary_state" in line]
        assert [line.split(" now=")[1].split()[0] for line in changes][-1] == "up"
        assert sum("event=drain_started" in line for line in relay.log_file.read_text().splitlines()) == 1
        assert len(relay.outages()) == 1
