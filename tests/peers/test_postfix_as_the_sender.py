"""Postfix as the sending server: told to use the primary while it is up, helped through the outage when it is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.postfix import Postfix
from tests.fakes.relay import DOMAIN, Relay, primary
from tests.fakes.swaks import Swaks

pytestmark = pytest.mark.peers


@pytest.fixture
def relay(postfix_primary: Postfix) -> Iterator[Relay]:
    with Relay(primary(postfix_primary.port)) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        yield relay


@pytest.fixture
def sender(relay: Relay) -> Iterator[Postfix]:
    """A mail server that cannot reach the primary itself: its only way is the relay."""
    with Postfix.sending_server(relay.port) as sender:
        yield sender


def test_a_message_deferred_by_guard_is_taken_in_the_outage_and_arrives_once(
    relay: Relay, sender: Postfix, postfix_primary: Postfix, swaks: Swaks
) -> None:
    given = swaks.send(sender.port, "--h-Subject", "by way of Postfix", recipient=f"user@{DOMAIN}")
    assert given.final_reply.startswith("250 "), given.text
    relay.wait_for(lambda: b" 451 4.3.2 " in sender.log_file.read_bytes(), "the sender is told 451 by guard")
    assert any(sender.queued()), "Postfix no longer has the message that it was told to keep"

    postfix_primary.stop()
    relay.wait_for(lambda: not any(sender.queued()), "the relay takes the message from Postfix", timeout=60)
    assert relay.queue_count() == 1

    postfix_primary.start()
    relay.wait_for(lambda: bool(postfix_primary.messages()), "the message is in the Maildir")
    relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
    (content,) = postfix_primary.messages()
    assert b"\nSubject: by way of Postfix\n" in content
