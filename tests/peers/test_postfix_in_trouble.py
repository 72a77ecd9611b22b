"""A Postfix primary that is back and not well: it greylists, has one connection to give, restarts, or has a full disk.

In each everything arrives once, log and ledger say why it had to wait, and the primary is not asked more than it must.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mxqueue import Filter, LedgerEvent, Queue
from tests.fakes import postfix
from tests.fakes.greylisting import Greylisting
from tests.fakes.postfix import Postfix
from tests.fakes.relay import DOMAIN, Relay, primary
from tests.fakes.smtp_tools import smtp_source

pytestmark = pytest.mark.peers


@contextmanager
def back_after_an_outage(messages: int, size: int = 1000, **settings: str) -> Iterator[tuple[Relay, Postfix]]:
    """So many messages wait when Postfix, with these settings, is about to answer again."""
    lacking = postfix.missing()
    if lacking is not None:
        pytest.skip(lacking)
    server = Postfix.primary(DOMAIN)
    server.settings |= settings
    try:
        with Relay(primary(server.port)) as relay:
            relay.wait_for(lambda: relay.primary_state() == "down", "the outage is noticed")
            smtp_source(relay.port, messages=messages, sessions=5, size=size, recipient=f"u@{DOMAIN}", numbered=True)
            yield relay, server
    except BaseException as error:
        error.add_note(f"Postfix's log ends:\n{server.log_tail()}")
        raise
    finally:
        server.remove()


def drained(relay: Relay, is_over: Callable[[], bool] | None = None) -> None:
    """What waits for its next attempt, as it should for a minute, is told to come now, once it waits."""
    relay.wait_for(is_over or (lambda: not _due(relay)), "everything was tried", timeout=60)
    queue = Queue.open(relay.url, node="operator")
    try:
        queue.retry(Filter(), "operator", "cannot wait").result()
    finally:
        queue.close()
    relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty", timeout=60)


def _due(relay: Relay) -> set[str]:
    """Messages that nobody has tried yet."""
    rows = relay.ledger()
    return {row.message_id for row in rows} - {row.message_id for row in rows if row.event is not LedgerEvent.ACCEPTED}


def arrived(server: Postfix, relay: Relay, messages: int) -> Counter[bytes]:
    """How often each recipient's message is in the Maildir."""
    relay.wait_for(lambda: len(server.messages()) >= messages, "the mail is in the Maildir")
    return Counter(
        found[1] for content in server.messages() if (found := re.search(rb"(?m)^Delivered-To: (.*)$", content))
    )


def expected(messages: int) -> Counter[bytes]:
    return Counter({f"{number}u@{DOMAIN}".encode(): 1 for number in range(1, messages + 1)})


def test_one_that_greylists_gets_everything_at_the_second_try() -> None:
    with (
        Greylisting() as policy,
        back_after_an_outage(3, smtpd_recipient_restrictions=f"check_policy_service inet:127.0.0.1:{policy.port}") as (
            relay,
            server,
        ),
    ):
        server.start()
        drained(relay)
        assert arrived(server, relay, 3) == expected(3)
        deferrals = [row for row in relay.ledger() if row.event is LedgerEvent.DEFERRED]
        assert len(deferrals) == 3
        assert all(row.detail.startswith("450 4.2.0 ") and "Greylisted" in row.detail for row in deferrals)
        assert relay.log_file.read_text().count("event=deferred") == 3
        assert set(Counter(policy.asked).values()) == {2}, "expected each to be asked for twice"
        assert relay.primary_state() == "up"


def test_one_that_answers_421_to_a_second_connection_is_drained_over_one() -> None:
    settings = {"smtpd_client_connection_count_limit": "1", "smtpd_client_event_limit_exceptions": ""}
    with back_after_an_outage(300, **settings) as (relay, server):
        server.start()
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty", timeout=60)
        assert arrived(server, relay, 300) == expected(300)
        assert {row.event for row in relay.ledger()} == {LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED}
        refused = server.log_file.read_text().count("Connection concurrency limit exceeded")
        assert 1 <= refused <= 10, f"expected a few attempts at a second connection, found {refused}"
        assert "421 4.7.0" in relay.log_file.read_text()
        since = relay.log_file.read_text().partition("event=outage_ended")[2]
        assert "event=primary_state" not in since, "expected a look without room to be no failure"


def test_one_that_restarts_in_the_middle_of_the_drain_gets_the_rest_afterwards() -> None:
    with back_after_an_outage(600, size=5000) as (relay, server):
        server.start()
        relay.wait_for(lambda: len(server.messages()) > 50, "the drain is under way", interval=0.01)
        server.stop()
        assert relay.queue_count() > 0, "the drain was over before the restart"
        server.start()
        drained(relay, lambda: relay.queue_count() < 40 and not _due(relay))
        rows = relay.ledger()
        ambiguous = {row.forward_path.encode() for row in rows if row.event is LedgerEvent.AMBIGUOUS}
        found = arrived(server, relay, 600)
        assert found.keys() == expected(600).keys()
        twice = {path for path, times in found.items() if times > 1}
        assert twice <= ambiguous, "expected a second copy only where the reply was lost"


def test_one_whose_disk_is_full_is_asked_for_each_message_once_and_gets_it_when_there_is_room() -> None:
    with back_after_an_outage(3) as (relay, server):
        free = os.statvfs(server.directory)
        server.settings["queue_minfree"] = str(2 * free.f_bavail * free.f_frsize)
        server.start()
        relay.wait_for(lambda: not _due(relay), "everything was tried", timeout=60)
        deferrals = [row for row in relay.ledger() if row.event is LedgerEvent.DEFERRED]
        assert [row.detail[:9] for row in deferrals] == ["452 4.3.1"] * 3, deferrals
        assert server.log_file.read_text().count("452 4.3.1") == 3, "expected one attempt at each message"
        assert (server.messages(), relay.primary_state()) == ([], "up")

        server.reload(queue_minfree="0")
        drained(relay)
        assert arrived(server, relay, 3) == expected(3)
