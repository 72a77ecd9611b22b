"""A message by swaks to a domain whose Postfix is away: taken by the relay, delivered when Postfix is back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.fakes.postfix import Postfix
from tests.fakes.relay import DOMAIN, Relay, primary
from tests.fakes.swaks import Swaks

pytestmark = pytest.mark.peers

RECIPIENT = f"user@{DOMAIN}"


@pytest.fixture
def relay(postfix_primary: Postfix) -> Iterator[Relay]:
    with Relay(primary(postfix_primary.port)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        yield relay


def test_guard_sends_swaks_to_the_primary_while_it_answers(relay: Relay, swaks: Swaks) -> None:
    transcript = swaks.send(relay.port, "--h-Subject", "while up", recipient=RECIPIENT)

    assert transcript.final_reply.startswith("451 4.3.2 "), transcript.text
    assert relay.queue_count() == 0


def test_a_message_sent_in_an_outage_reaches_the_maildir_once(
    relay: Relay, postfix_primary: Postfix, swaks: Swaks
) -> None:
    postfix_primary.stop()
    relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")

    transcript = swaks.send(relay.port, "--h-Subject", "in the outage", recipient=RECIPIENT)
    accepted = re.match(r"250 .*\b([0-9A-HJKMNP-TV-Z]{26})\b", transcript.final_reply)
    assert accepted, f"expected 250 with a queue id:\n{transcript.text}"
    queue_id = accepted[1]
    assert [row["id"] for row in relay.cli_json_lines("queue", "list")] == [queue_id]

    postfix_primary.start()
    relay.wait_for(lambda: bool(postfix_primary.messages()), "the message is in the Maildir")
    relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")

    (content,) = postfix_primary.messages()
    assert b"\nSubject: in the outage\n" in content
    unfolded = re.sub(rb"\n[ \t]+", b" ", content)
    ours = rb"(?m)^Received: from client\.sender\.test .*127\.0\.0\.1.* by relay\.example\.net .*"
    received = re.search(ours + re.escape(queue_id.encode()), unfolded)
    assert received, f"no Received line of ours with {queue_id} in:\n{content.decode()}"


def test_the_outage_is_on_record_with_its_end(relay: Relay, postfix_primary: Postfix) -> None:
    postfix_primary.stop()
    relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
    (running,) = relay.outages()
    assert running["primary"] == "main"
    assert running["confirmed"] is True
    assert running["ended_at"] is None

    postfix_primary.start()
    relay.wait_for(lambda: relay.primary_state() == "up", "the recovery is noticed")

    (span,) = relay.outages()
    assert span["started_at"] == running["started_at"]
    assert span["ended_at"] > span["started_at"]
