"""10,000 messages by smtp-source into an outage, then drained into smtp-sink: nothing lost and nothing twice.

smtp-source numbers its recipients (1u@, 2u@, ...), so each message is one of a kind; smtp-sink writes down each
transaction that it answered with 250. Neither is ours.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fakes.relay import DOMAIN, Relay, primary
from tests.fakes.smtp_tools import SmtpSink, smtp_source

pytestmark = pytest.mark.peers

MESSAGES = 10_000
SIZE = 10_240


@pytest.mark.usefixtures("load_tools")
def test_ten_thousand_messages_over_fifty_sessions_arrive_once_each() -> None:
    with SmtpSink(dump=True) as sink, Relay(primary(sink.port, max_connections=20)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
        smtp_source(relay.port, messages=MESSAGES, sessions=50, size=SIZE, recipient=f"u@{DOMAIN}", numbered=True)
        assert relay.queue_count() == MESSAGES

        sink.start()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty", timeout=300)
        relay.stop()

        arrived = sink.transactions()
        times = Counter(path for transaction in arrived for path in transaction.forward_paths)
        expected = {f"{number}u@{DOMAIN}" for number in range(1, MESSAGES + 1)}
        assert expected - times.keys() == set(), "lost"
        assert {path: count for path, count in times.items() if count > 1} == {}, "arrived more than once"
        assert times.keys() - expected == set(), "never sent"
        cut_short = [transaction for transaction in arrived if len(transaction.content) < SIZE - 200]
        assert cut_short == [], f"{len(cut_short)} messages arrived without their end"
