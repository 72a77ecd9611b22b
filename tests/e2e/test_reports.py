"""Reports to senders in the real service: out through the smarthost, whatever becomes of the primary, and once."""

from __future__ import annotations

from mxqueue import BytesContent, Envelope, Queue
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

REPORT = b"Subject: Undelivered mail\r\n\r\nIt was.\r\n"


def report(relay: Relay) -> str:
    """As `queue bounce` puts one into the queue, beside the service."""
    queue = Queue.open(relay.url, node="cli")
    (queue_id,) = queue.accept([Envelope("", ("a@sender.test",), "reports")], BytesContent(REPORT)).result()
    queue.close()
    return queue_id


def test_a_report_goes_out_through_the_smarthost_while_the_primary_is_away_and_after_a_restart() -> None:
    with FakePrimary() as fake, FakePrimary() as smarthost:
        fake.go_away()
        relay = Relay(primary(fake.port, on_refusal="bounce"))
        with relay.config_file.open("a") as config:
            config.write(f'\n[bounces]\nsmarthost = "127.0.0.1:{smarthost.port}"\n')
        with relay:
            relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
            report(relay)
            relay.wait_for(lambda: len(smarthost.messages) == 1, "the report")

            smarthost.go_away()
            queue_id = report(relay)
            relay.wait_for(lambda: "1 report to senders" in relay.status()["sentence"], "the sentence says so")
            assert relay.status()["reports"] == {"messages": 1, "held_messages": 0}
            relay.restart()
            smarthost.answer()
            relay.wait_for(lambda: len(smarthost.messages) == 2, "the second report", timeout=90)
            relay.wait_for(lambda: relay.queue_count() == 0, "an empty queue")
            assert [message.reverse_path for message in smarthost.messages] == ["", ""]
            assert "delivered" in relay.cli("queue", "show", queue_id)
