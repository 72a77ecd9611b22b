"""Mail out, second half: what an attempt made of each recipient, and whose word counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mxqueue import Filter, Outcome, Queue, RecipientState, Settlement
from tests.fakes.clock import START, Clock
from tests.fakes.mail import (
    DELIVERED,
    FAILED,
    HELD,
    accept,
    claim_one,
    deferred,
    events,
    recipient,
    settle,
    states,
)

MINUTE = timedelta(minutes=1)
LATER = START + 5 * MINUTE

OUTCOMES = {
    "delivered": DELIVERED,
    "deferred": deferred(LATER),
    "failed": FAILED,
    "held": HELD,
    "expired": Outcome(RecipientState.EXPIRED, "too old"),
}


def test_an_outcome_sets_state_attempts_and_reply_and_ends_the_lease(queue: Queue) -> None:
    for outcome in OUTCOMES.values():
        queue_id = accept(queue)

        assert settle(queue, claim_one(queue), outcome) == []

        found = recipient(queue, queue_id)
        assert (found.state, found.attempts, found.last_reply) == (outcome.state, 1, outcome.reply)
        assert (found.lease_owner, found.lease_until) == (None, None)
        assert found.not_before == (outcome.not_before or START)


def test_an_outcome_leaves_a_ledger_row_with_the_reply(queue: Queue, clock: Clock) -> None:
    for event, outcome in OUTCOMES.items():
        queue_id = accept(queue)
        claim = claim_one(queue)
        clock.advance(seconds=1)
        settle(queue, claim, outcome)

        row = queue.show(queue_id).result()[1][-1]

        assert (row.event, row.detail, row.at) == (event, outcome.reply, clock())
        assert (row.message_id, row.forward_path, row.node) == (queue_id, "u@example.test", "mx2")


def test_the_recipients_of_one_message_have_outcomes_of_their_own(queue: Queue) -> None:
    queue_id = accept(queue, "taken@example.test", "later@example.test", "nobody@example.test")
    claim = claim_one(queue)

    queue.settle([Settlement(claim, {0: DELIVERED, 1: deferred(LATER), 2: FAILED})]).result()

    assert states(queue, queue_id) == [RecipientState.DELIVERED, RecipientState.PENDING, RecipientState.FAILED]
    assert [events(queue, queue_id, position)[-1] for position in range(3)] == ["delivered", "deferred", "failed"]
    assert [recipient(queue, queue_id, position).last_reply[:3] for position in range(3)] == ["250", "451", "550"]


def test_recipients_left_out_of_a_settlement_stay_leased(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, DELIVERED, 0)

    assert recipient(queue, queue_id, 1).lease_owner == "mx2/worker"
    assert settle(queue, claim, DELIVERED, 1) == []


def test_each_attempt_is_counted(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    for _ in range(3):
        settle(queue, claim_one(queue), deferred(clock() + MINUTE))
        clock.advance(minutes=1)

    assert recipient(queue, queue_id).attempts == 3


def test_an_attempt_that_reached_nobody_is_not_counted(queue: Queue) -> None:
    queue_id = accept(queue)
    settle(queue, claim_one(queue), deferred(LATER, counts=False))

    assert (recipient(queue, queue_id).attempts, recipient(queue, queue_id).not_before) == (0, LATER)
    assert events(queue, queue_id) == ["accepted", "deferred"]


def test_an_attempt_whose_reply_was_lost_is_recorded_as_ambiguous(queue: Queue) -> None:
    queue_id = accept(queue)
    settle(queue, claim_one(queue), deferred(LATER, ambiguous=True))

    assert events(queue, queue_id) == ["accepted", "ambiguous"]


def test_a_settlement_of_a_lease_that_was_taken_over_is_refused_and_recorded(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    (slept,) = queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(minutes=2)
    awake = claim_one(queue)

    assert settle(queue, slept, DELIVERED) == [(queue_id, 0)]

    assert states(queue, queue_id) == [RecipientState.PENDING]
    assert recipient(queue, queue_id).attempts == 0
    last = queue.show(queue_id).result()[1][-1]
    assert (last.event, last.detail) == ("refused", "delivered: 250 2.0.0 taken")
    assert settle(queue, awake, FAILED) == []
    assert states(queue, queue_id) == [RecipientState.FAILED]


def test_a_settlement_after_the_lease_ran_out_counts_while_nobody_took_over(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    (claim,) = queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(hours=2)

    assert settle(queue, claim, DELIVERED) == []
    assert states(queue, queue_id) == [RecipientState.DELIVERED]


def test_a_settlement_counts_once(queue: Queue) -> None:
    queue_id = accept(queue)
    claim = claim_one(queue)
    settle(queue, claim, deferred(LATER))

    assert settle(queue, claim, DELIVERED) == [(queue_id, 0)]
    assert states(queue, queue_id) == [RecipientState.PENDING]


def test_of_two_settlements_of_one_lease_in_one_call_the_first_counts(queue: Queue) -> None:
    queue_id = accept(queue)
    claim = claim_one(queue)

    refused = queue.settle([Settlement(claim, {0: deferred(LATER)}), Settlement(claim, {0: FAILED})]).result()

    assert refused == [(queue_id, 0)]
    assert states(queue, queue_id) == [RecipientState.PENDING]


def test_a_settlement_with_a_made_up_token_is_refused(queue: Queue) -> None:
    queue_id = accept(queue)
    claim = claim_one(queue)

    assert settle(queue, replace(claim, token="01KJMMA2G00000000000000000"), DELIVERED) == [(queue_id, 0)]
    assert settle(queue, claim, DELIVERED) == []


def test_a_settlement_of_what_an_operator_removed_after_the_lease_ran_out_is_refused(
    queue: Queue, clock: Clock
) -> None:
    queue_id = accept(queue)
    (claim,) = queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(minutes=2)
    queue.remove(Filter(ids=(queue_id,)), "op", "spam").result()

    assert settle(queue, claim, DELIVERED) == [(queue_id, 0)]
    assert states(queue, queue_id) == [RecipientState.REMOVED]
    assert events(queue, queue_id) == ["accepted", "removed", "refused"]


def test_settling_nothing_is_no_mistake(queue: Queue) -> None:
    assert queue.settle([]).result() == []


def test_settlements_of_many_claims_are_answered_each_by_its_own(queue: Queue, clock: Clock) -> None:
    accepted = [accept(queue) for _ in range(4)]
    slept = queue.claim("main", "worker", limit=2, lease=MINUTE).result()
    clock.advance(minutes=2)
    taken = queue.claim("main", "other", limit=2).result()
    fresh = queue.claim("main", "worker").result()

    answers = [
        queue.settle([Settlement(claim, {0: DELIVERED})]) for claims in (slept, taken, fresh) for claim in claims
    ]

    assert [len(answer.result()) for answer in answers] == [1, 1, 0, 0, 0, 0]
    assert {states(queue, queue_id)[0] for queue_id in accepted} == {RecipientState.DELIVERED}
