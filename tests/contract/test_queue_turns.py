"""Claims take turns by domain, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

import mxqueue.turns
from mxqueue import Claim, Outcome, Queue, RecipientState, Settlement
from tests.fakes.clock import START, Clock
from tests.fakes.mail import DELIVERED, accept, settle


def domains(claims: list[Claim]) -> list[str]:
    return [claim.message.recipients[0].forward_path.rpartition("@")[2] for claim in claims]


def test_a_domain_whose_mail_came_first_and_is_much_does_not_keep_the_others_waiting(
    queue: Queue, clock: Clock
) -> None:
    for _ in range(50):
        accept(queue, "u@many.test")
    clock.advance(seconds=1)
    late = [accept(queue, f"u@{name}.test") for name in ("few", "two", "two")]
    claims = queue.claim("main", "worker", limit=6).result()
    assert {claim.message.id for claim in claims} >= set(late)
    assert domains(claims) == ["many.test", "few.test", "two.test", "many.test", "two.test", "many.test"]


def test_what_the_others_leave_is_filled_up_by_the_one_that_has_more(queue: Queue) -> None:
    accept(queue, "u@few.test")
    for _ in range(300):
        accept(queue, "u@many.test")
    claims = queue.claim("main", "worker", limit=250).result()
    assert (len(claims), domains(claims).count("few.test")) == (250, 1)


def test_of_one_domain_the_order_is_that_of_arrival(queue: Queue, clock: Clock) -> None:
    ids = []
    for number in range(9):
        clock.advance(seconds=1)
        ids.append(accept(queue, f"u@{number % 3}.test"))
    claims = queue.claim("main", "worker", limit=9).result()
    assert [claim.message.id for claim in claims] == ids


def test_capitals_make_no_other_domain(queue: Queue) -> None:
    for path in ("u@Example.TEST", "u@example.test", "u@other.test", "v@EXAMPLE.test"):
        accept(queue, path)
    claims = queue.claim("main", "worker", limit=3).result()
    assert domains(claims)[1] == "other.test"


def test_a_domain_that_waits_out_a_backoff_takes_nobodys_turn(queue: Queue) -> None:
    for path in ("u@later.test", "v@later.test"):
        accept(queue, path)
    later = Outcome(RecipientState.PENDING, "451 later", not_before=START + timedelta(days=1))
    for claim in queue.claim("main", "worker").result():
        assert settle(queue, claim, later) == []
    ids = [accept(queue, "u@now.test") for _ in range(4)]
    assert [claim.message.id for claim in queue.claim("main", "worker", limit=4).result()] == ids


def test_a_message_for_two_domains_is_claimed_once_and_whole(queue: Queue) -> None:
    both = accept(queue, "a@one.test", "b@two.test")
    accept(queue, "c@one.test")
    claims = queue.claim("main", "worker", limit=9).result()
    assert [claim.message.id for claim in claims].count(both) == 1
    assert len(claims[0].message.recipients) == 2
    assert queue.claim("main", "worker").result() == []


def test_very_many_domains_are_all_served(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mxqueue.turns, "MOST_DOMAINS", 3)
    for number in range(10):
        for _ in range(3):
            accept(queue, f"u@{number}.test")
    served = []
    while claims := queue.claim("main", "worker", limit=3).result():
        served.append(domains(claims))
        assert queue.settle([Settlement(claim, {0: DELIVERED}) for claim in claims]).result() == []
    assert len([each for claimed in served for each in claimed]) == 30
    # After ten domains' worth of claims each has had something.
    assert {each for claimed in served[:4] for each in claimed} == {f"{number}.test" for number in range(10)}


def test_two_nodes_that_claim_at_once_get_different_mail(open_queue: Callable[..., Queue], queue: Queue) -> None:
    other = open_queue(node="mx3")
    for number in range(60):
        accept(queue, f"u@{number % 3}.test")
    claiming = [(queue if turn % 2 else other).claim("main", "worker", limit=10) for turn in range(8)]
    ids = [claim.message.id for each in claiming for claim in each.result()]
    assert len(ids) == len(set(ids)) == 60


def test_the_domain_of_mail_that_is_older_than_this_is_made_by_the_migration(queue: Queue) -> None:
    """The two ways of finding a domain, the database's and ours, must be one."""
    from importlib import import_module

    found = import_module("mxqueue.migrations.versions.0004_turns")._DOMAIN
    paths = ['"a@b"@Example.TEST', "postmaster", "u@[192.0.2.1]", "u@b.test"]

    def op(connection: Connection) -> list[str | None]:
        expression = found[connection.dialect.name].replace("forward_path", "CAST(:path AS VARCHAR)")
        return [connection.scalar(text(f"SELECT {expression}"), {"path": path}) for path in paths]

    assert queue.read(op).result() == [path.rpartition("@")[2].lower() for path in paths]
