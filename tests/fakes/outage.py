"""An outage of the primary, as the tests tell it: away, mail comes in, back, mail goes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fallback_mx.smtp.sink import SinkMessage
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay


@contextmanager
def outage(relay: Relay, primary: FakePrimary) -> Iterator[list[SinkMessage]]:
    """The primary is away; afterwards the list has all that the relay took meanwhile, as the primary got it.

    The primary must be up before, and is up again afterwards, whatever happens.
    """
    arrived: list[SinkMessage] = []
    relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
    primary.go_away()
    try:
        relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
        primary.sink.messages.clear()
        yield arrived
    finally:
        primary.answer()
    relay.wait_for(lambda: relay.primary_state() == "up", "the recovery is noticed")
    relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty", timeout=60)
    arrived += primary.messages
