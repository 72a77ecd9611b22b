"""Mail given up with a report of it: the one is not there without the other, whoever decides and whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from mxqueue import (
    BytesContent,
    Claim,
    Decision,
    Enclosed,
    Envelope,
    Filter,
    NoSuchMessage,
    Outcome,
    Queue,
    QueueError,
    RecipientState,
    Settlement,
)
from tests.fakes.clock import START, Clock
from tests.fakes.mail import (
    DELIVERED,
    FAILED,
    HELD,
    accept,
    claim_one,
    content,
    deferred,
    events,
    message,
    recipient,
    settle,
    states,
)

TEXT = b"Subject: Undelivered mail\r\n\r\nIt was.\r\n"
MINUTE = timedelta(minutes=1)
PENDING, FAILED_STATE, HELD_STATE = RecipientState.PENDING, RecipientState.FAILED, RecipientState.HELD


def report(queue: Queue, *paths: str) -> Enclosed:
    envelope = Envelope("", paths or ("a@sender.test",), "reports", id=queue.new_id())
    return Enclosed(envelope, BytesContent(TEXT), "about it")


def no_report_at_all(queue: Queue) -> Enclosed:
    """One that cannot be stored: it has no recipient."""
    return Enclosed(Envelope("", (), "reports", id=queue.new_id()), BytesContent(TEXT))


def reports(queue: Queue) -> list[str]:
    return [each.id for each in queue.list(Filter(route="reports")).result()]


# --- by who holds a lease ------------------------------------------------------------------------------------------


def test_a_settlement_brings_its_report_into_the_queue(queue: Queue) -> None:
    queue_id = accept(queue)
    enclosed = report(queue)

    assert queue.settle([Settlement(claim_one(queue), {0: FAILED}, enclosed)]).result() == []

    assert states(queue, queue_id) == [FAILED_STATE]
    assert reports(queue) == [enclosed.envelope.id]
    found = message(queue, enclosed.envelope.id)
    assert (found.reverse_path, found.recipients[0].forward_path) == ("", "a@sender.test")
    assert content(queue, found.id) == TEXT
    assert queue.show(found.id).result()[1][0].detail == "about it"


def test_a_settlement_that_comes_too_late_leaves_no_report(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    (late,) = queue.claim("main", "one", lease=MINUTE).result()
    clock.advance(minutes=2)
    claim_one(queue)

    assert queue.settle([Settlement(late, {0: FAILED}, report(queue))]).result() == [(queue_id, 0)]

    assert (states(queue, queue_id), reports(queue)) == ([PENDING], [])


def test_where_one_lease_of_it_is_lost_neither_the_report_nor_any_outcome_counts(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    (claim,) = queue.claim("main", "one", lease=MINUTE).result()
    settle(queue, claim, deferred(START + timedelta(days=1)), 1)

    refused = queue.settle([Settlement(claim, {0: FAILED, 1: FAILED}, report(queue))]).result()

    assert refused == [(queue_id, 0), (queue_id, 1)]
    assert (states(queue, queue_id), reports(queue)) == ([PENDING, PENDING], [])
    assert events(queue, queue_id, 0)[-1] == "refused"


def test_two_settlements_of_one_lease_leave_one_report(queue: Queue) -> None:
    accept(queue)
    claim = claim_one(queue)
    first, second = report(queue), report(queue)
    both = [Settlement(claim, {0: FAILED}, first), Settlement(claim, {0: FAILED}, second)]

    assert len(queue.settle(both).result()) == 1

    assert reports(queue) == [first.envelope.id]


def test_where_the_report_cannot_be_stored_nobody_has_failed(queue: Queue) -> None:
    queue_id = accept(queue)
    claim = claim_one(queue)

    with pytest.raises(QueueError):
        queue.settle([Settlement(claim, {0: FAILED}, no_report_at_all(queue))]).result()

    assert (states(queue, queue_id), reports(queue)) == ([PENDING], [])
    assert queue.settle([Settlement(claim, {0: FAILED}, report(queue))]).result() == []


def test_the_other_recipients_of_the_message_are_as_they_were(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, DELIVERED, 0)
    queue.settle([Settlement(claim, {1: FAILED}, report(queue))]).result()

    assert states(queue, queue_id) == [RecipientState.DELIVERED, FAILED_STATE]
    with pytest.raises(NoSuchMessage):
        queue.content(queue_id).result()


# --- what has aged ---------------------------------------------------------------------------------------------------


def claim_aged(queue: Queue, before: timedelta, limit: int = 100) -> list[Claim]:
    return queue.claim_aged("main", START + before, "worker", limit=limit).result()


def test_what_has_aged_can_be_claimed_though_it_is_not_due(queue: Queue, clock: Clock) -> None:
    old = accept(queue)
    settle(queue, claim_one(queue), deferred(START + timedelta(days=9)))
    clock.advance(days=1)
    accept(queue)

    assert [claim.message.id for claim in claim_aged(queue, timedelta(hours=1))] == [old]
    assert claim_aged(queue, timedelta(hours=1)) == [], "nobody else has it then"


def test_of_what_has_aged_the_oldest_come_first_and_no_more_than_asked_for(queue: Queue, clock: Clock) -> None:
    ids = []
    for _ in range(3):
        ids.append(accept(queue))
        clock.advance(minutes=1)
    assert [claim.message.id for claim in claim_aged(queue, timedelta(hours=1), limit=2)] == ids[:2]


def test_only_what_waits_on_that_route_and_is_in_nobodys_hand_is_claimed(queue: Queue) -> None:
    accept(queue, route="other")
    held = accept(queue, "h@example.test")
    settle(queue, claim_one(queue), HELD)
    busy = accept(queue, "b@example.test")
    claim_one(queue)
    half = accept(queue, "one@example.test", "two@example.test")
    settle(queue, claim_one(queue), DELIVERED, 0)
    queue.give_back([]).result()

    assert claim_aged(queue, MINUTE) == []
    assert {held, busy, half} == {each.id for each in queue.list(Filter(route="main")).result()}


def test_a_claim_of_what_has_aged_is_settled_like_any_other(queue: Queue) -> None:
    queue_id = accept(queue)
    (claim,) = claim_aged(queue, MINUTE)
    expired = Outcome(RecipientState.EXPIRED, "not delivered within 30 days", counts=False)
    assert queue.settle([Settlement(claim, {0: expired}, report(queue))]).result() == []
    assert (states(queue, queue_id), len(reports(queue))) == ([RecipientState.EXPIRED], 1)
    assert recipient(queue, queue_id).attempts == 0


# --- by who holds none -----------------------------------------------------------------------------------------------

GIVEN_UP = Outcome(FAILED_STATE, "asked by the customer")


@pytest.fixture(params=[PENDING, HELD_STATE])
def waiting(request: pytest.FixtureRequest, queue: Queue) -> str:
    """A message with two recipients, the first of which waits or is held."""
    queue_id = accept(queue, "one@example.test", "two@example.test")
    if request.param is HELD_STATE:
        claim = claim_one(queue)
        settle(queue, claim, HELD, 0)
        queue.give_back([claim]).result()
    return queue_id


def test_a_decision_ends_those_it_names_with_who_and_why_and_brings_its_report(queue: Queue, waiting: str) -> None:
    before = recipient(queue, waiting).last_reply
    enclosed = report(queue)

    assert queue.decide(Decision(waiting, {0: GIVEN_UP}, enclosed), "op@host").result()

    assert states(queue, waiting) == [FAILED_STATE, PENDING]
    assert reports(queue) == [enclosed.envelope.id]
    last = queue.show(waiting).result()[1][-1]
    assert (last.event, last.detail, last.actor) == ("failed", "asked by the customer", "op@host")
    assert recipient(queue, waiting).last_reply == before
    assert content(queue, waiting)


def test_a_decision_may_be_to_hold(queue: Queue, waiting: str) -> None:
    assert queue.decide(Decision(waiting, {0: Outcome(HELD_STATE, "nobody vouches")}), "op@host").result()
    assert states(queue, waiting) == [HELD_STATE, PENDING]
    assert (events(queue, waiting)[-1], reports(queue)) == ("held", [])


def test_with_its_last_recipient_the_content_goes(queue: Queue, waiting: str) -> None:
    assert queue.decide(Decision(waiting, {0: GIVEN_UP, 1: GIVEN_UP}), "op@host").result()
    with pytest.raises(NoSuchMessage):
        queue.content(waiting).result()


def lease(queue: Queue, queue_id: str) -> None:
    claim_one(queue)


def remove(queue: Queue, queue_id: str) -> None:
    queue.remove(Filter(ids=(queue_id,), recipient="two@example.test"), "other", "").result()


@pytest.mark.parametrize("meanwhile", [lease, remove])
def test_a_decision_that_comes_too_late_for_one_of_them_does_nothing(
    queue: Queue, waiting: str, meanwhile: Callable[[Queue, str], None]
) -> None:
    meanwhile(queue, waiting)
    before = states(queue, waiting)

    decision = Decision(waiting, {0: GIVEN_UP, 1: GIVEN_UP}, report(queue))
    assert not queue.decide(decision, "op@host").result()

    assert (states(queue, waiting), reports(queue)) == (before, [])


def test_a_decision_whose_report_cannot_be_stored_does_nothing(queue: Queue, waiting: str) -> None:
    before = states(queue, waiting)
    with pytest.raises(QueueError):
        queue.decide(Decision(waiting, {0: GIVEN_UP}, no_report_at_all(queue)), "op@host").result()
    assert states(queue, waiting) == before


def test_a_decision_about_nobody_that_there_is_does_nothing(queue: Queue, waiting: str) -> None:
    assert not queue.decide(Decision(waiting, {7: GIVEN_UP}, report(queue)), "op@host").result()
    assert not queue.decide(Decision(queue.new_id(), {0: GIVEN_UP}, report(queue)), "op@host").result()
    assert reports(queue) == []
