"""10,000 messages for a primary that takes three connections and dies under ten, by the real service."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fakes.frail import FrailSink
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import DOMAIN, Relay, primary
from tests.fakes.smtp_tools import smtp_source

pytestmark = pytest.mark.peers

MESSAGES = 10_000


@pytest.mark.usefixtures("load_tools")
def test_a_primary_that_takes_three_connections_and_dies_under_ten_gets_ten_thousand_messages() -> None:
    sink = FrailSink(room=3, fatal=10)
    with FakePrimary(sink=sink) as fake, Relay(primary(fake.port, max_connections=20)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        fake.go_away()
        relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
        smtp_source(relay.port, messages=MESSAGES, sessions=20, size=1000, recipient=f"u@{DOMAIN}", numbered=True)
        assert relay.queue_count() == MESSAGES
        fake.answer()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty", timeout=300)
        times = Counter(path for message in fake.messages for path in message.forward_paths)
        assert times == {f"{number}u@{DOMAIN}": 1 for number in range(1, MESSAGES + 1)}
        assert (sink.most_served, sink.has_died) == (3, False)
        # A fourth connection is tried after 3, 30, 300, and then every 3000 messages. What it refused beyond that were
        # looks of our monitor, twice a second.
        assert relay.log_file.read_text().count("event=connection_failed") <= 7
        assert relay.log_file.read_text().count("event=drain_started") == 1
        assert len(relay.outages()) == 1
