"""Mail out, first half: who gets which recipients, for how long, and how a lease ends without an attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from mxqueue import Claim, Filter, Queue, RecipientState
from tests.fakes.clock import START, Clock
from tests.fakes.mail import (
    DELIVERED,
    HELD,
    accept,
    claim_one,
    deferred,
    events,
    ids,
    positions,
    recipient,
    settle,
    states,
)

MINUTE = timedelta(minutes=1)


def test_a_claim_carries_the_message_its_recipients_and_the_end_of_the_lease(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test", trace=b"Received: here\r\n")

    (claim,) = queue.claim("main", "worker", lease=MINUTE).result()

    assert (claim.message.id, claim.message.trace, claim.until) == (queue_id, b"Received: here\r\n", START + MINUTE)
    assert [each.forward_path for each in claim.message.recipients] == ["one@example.test", "two@example.test"]
    assert claim.token


def test_a_lease_names_its_owner_and_its_node(queue: Queue) -> None:
    queue_id = accept(queue)
    queue.claim("main", "worker-7", lease=MINUTE).result()

    leased = recipient(queue, queue_id)

    assert (leased.lease_owner, leased.lease_until) == ("mx2/worker-7", START + MINUTE)


def test_being_claimed_is_neither_a_state_nor_an_attempt(queue: Queue) -> None:
    queue_id = accept(queue)
    claim_one(queue)

    assert (states(queue, queue_id), recipient(queue, queue_id).attempts) == ([RecipientState.PENDING], 0)
    assert events(queue, queue_id) == ["accepted"]


def test_the_oldest_is_claimed_first(queue: Queue, clock: Clock) -> None:
    accepted = []
    for _ in range(5):
        accepted.append(accept(queue))
        clock.advance(seconds=1)

    assert ids(queue.claim("main", "worker", limit=2).result()) == accepted[:2]
    assert ids(queue.claim("main", "worker", limit=10).result()) == accepted[2:]


def test_what_was_due_earlier_comes_before_what_arrived_earlier(queue: Queue, clock: Clock) -> None:
    put_off, other = accept(queue), accept(queue, "v@example.test")
    settle(queue, claim_one(queue), deferred(START + 2 * MINUTE))
    clock.advance(minutes=3)

    assert ids(queue.claim("main", "worker").result()) == [other, put_off]


def test_only_the_route_asked_for_is_claimed(queue: Queue) -> None:
    accept(queue, route="other")
    queue_id = accept(queue, route="main")

    assert ids(queue.claim("main", "worker").result()) == [queue_id]


def test_nothing_is_claimed_before_it_is_due(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    settle(queue, claim_one(queue), deferred(START + 5 * MINUTE))
    clock.advance(minutes=4, seconds=59)
    assert queue.claim("main", "worker").result() == []

    clock.advance(seconds=1)
    assert ids(queue.claim("main", "worker").result()) == [queue_id]


def test_a_message_is_claimed_with_those_of_its_recipients_that_are_due(queue: Queue) -> None:
    accept(
        queue, "due@example.test", "later@example.test", "held@example.test", "done@example.test", "due2@example.test"
    )
    claim = claim_one(queue)
    settle(queue, claim, deferred(START + MINUTE), 1)
    settle(queue, claim, HELD, 2)
    settle(queue, claim, DELIVERED, 3)
    queue.give_back([claim]).result()

    assert positions(claim_one(queue)) == [0, 4]


def test_nobody_gets_what_is_leased(queue: Queue) -> None:
    accept(queue)
    claim_one(queue)

    assert queue.claim("main", "other").result() == []


def test_a_lease_that_has_run_out_frees_its_recipients(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(seconds=59)
    assert queue.claim("main", "other").result() == []

    clock.advance(seconds=1)
    assert ids(queue.claim("main", "other").result()) == [queue_id]


def test_no_more_messages_are_claimed_than_asked_for(queue: Queue) -> None:
    for _ in range(5):
        accept(queue, "one@example.test", "two@example.test")

    assert len(queue.claim("main", "worker", limit=3).result()) <= 3
    assert queue.claim("main", "worker", limit=0).result() == []


def test_a_message_of_more_recipients_than_the_limit_is_claimed_whole(queue: Queue) -> None:
    accept(queue, *(f"u{number}@example.test" for number in range(20)))

    assert len(queue.claim("main", "worker", limit=5).result()[0].message.recipients) == 20


def test_what_is_given_back_is_due_as_it_was_without_an_attempt(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    before = recipient(queue, queue_id)
    queue.give_back([claim_one(queue)]).result()

    assert recipient(queue, queue_id) == before
    assert events(queue, queue_id) == ["accepted"]
    assert positions(claim_one(queue)) == [0, 1]


def test_giving_back_after_the_lease_was_taken_over_changes_nothing(queue: Queue, clock: Clock) -> None:
    accept(queue)
    (first,) = queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(minutes=2)
    second = claim_one(queue)
    queue.give_back([first]).result()

    assert queue.claim("main", "third").result() == []
    assert settle(queue, second, DELIVERED) == []


def test_giving_back_nothing_is_no_mistake(queue: Queue) -> None:
    assert queue.give_back([]).result() is None


def test_an_extended_lease_runs_from_now(queue: Queue, clock: Clock) -> None:
    accept(queue)
    (claim,) = queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(seconds=50)
    assert queue.extend(claim, MINUTE).result()
    clock.advance(seconds=59)
    assert queue.claim("main", "other").result() == []

    clock.advance(seconds=1)
    assert len(queue.claim("main", "other").result()) == 1


def test_a_lease_can_be_extended_when_some_of_its_recipients_are_settled(queue: Queue) -> None:
    accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, DELIVERED, 0)

    assert queue.extend(claim, MINUTE).result()


def test_a_lease_of_nothing_left_cannot_be_extended(queue: Queue) -> None:
    accept(queue)
    claim = claim_one(queue)
    settle(queue, claim, DELIVERED)

    assert not queue.extend(claim, MINUTE).result()


def test_a_lease_that_was_taken_over_cannot_be_extended(queue: Queue, clock: Clock) -> None:
    accept(queue)
    (first,) = queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(minutes=2)
    second = claim_one(queue)

    assert not queue.extend(first, MINUTE).result()
    assert queue.extend(second, MINUTE).result()


def test_a_flush_makes_what_waits_on_its_route_due_now(queue: Queue) -> None:
    waiting, other = accept(queue, "one@example.test", "two@example.test"), accept(queue, route="other")
    settle(queue, claim_one(queue), deferred(START + MINUTE))
    settle(queue, claim_one(queue, "other"), deferred(START + MINUTE))

    assert queue.flush("main").result() == 2
    assert ids(queue.claim("main", "worker").result()) == [waiting]
    assert queue.claim("other", "worker").result() == [], f"{other} is on another route"


def test_a_flush_counts_only_what_was_not_due(queue: Queue) -> None:
    accept(queue)
    accept(queue, "v@example.test")
    settle(queue, claim_one(queue), deferred(START + MINUTE))

    assert (queue.flush("main").result(), queue.flush("main").result()) == (1, 0)


def test_a_flush_lets_the_oldest_go_first(queue: Queue, clock: Clock) -> None:
    accepted = []
    for number in range(3):
        accepted.append(accept(queue))
        settle(queue, claim_one(queue), deferred(START + timedelta(days=9 - number)))
        clock.advance(seconds=1)
    queue.flush("main").result()

    assert ids(queue.claim("main", "worker").result()) == accepted


def test_a_flush_frees_mail_that_arrived_while_the_clock_was_ahead(queue: Queue, clock: Clock) -> None:
    clock.advance(days=3650)
    queue_id = accept(queue)
    clock.advance(days=-3650)
    assert queue.claim("main", "worker").result() == []

    queue.flush("main").result()
    assert ids(queue.claim("main", "worker").result()) == [queue_id]


def test_next_due_is_when_the_first_free_recipient_is_due(queue: Queue, clock: Clock) -> None:
    assert queue.next_due("main").result() is None
    accept(queue)
    accept(queue, "v@example.test")
    assert queue.next_due("main").result() == START

    settle(queue, claim_one(queue), deferred(START + 5 * MINUTE))
    settle(queue, claim_one(queue), deferred(START + 3 * MINUTE))
    assert queue.next_due("main").result() == START + 3 * MINUTE
    assert queue.next_due("other").result() is None


def test_next_due_passes_over_what_is_leased_until_the_lease_ends(queue: Queue, clock: Clock) -> None:
    accept(queue)
    queue.claim("main", "worker", lease=MINUTE).result()
    assert queue.next_due("main").result() is None

    clock.advance(minutes=1)
    assert queue.next_due("main").result() == START


def drain(queue: Queue, owner: str, into: list[Claim]) -> None:
    while claims := queue.claim("main", owner, limit=7).result():
        into.extend(claims)


@pytest.mark.parametrize("nodes", [1, 2])
def test_claimers_at_work_together_never_get_the_same_recipient(open_queue: Callable[..., Queue], nodes: int) -> None:
    queues = [open_queue(node=f"mx{number}", exclusive=number == 0) for number in range(nodes)]
    given = {
        (accept(queues[0], *(f"u{n}@example.test" for n in range(1 + number % 3))), number % 3) for number in range(150)
    }
    claims: list[Claim] = []
    threads = [
        threading.Thread(target=drain, args=(queues[number % nodes], f"worker-{number}", claims)) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    got = [(claim.message.id, position) for claim in claims for position in positions(claim)]
    assert len(got) == len(set(got)), "a recipient was claimed twice"
    assert set(got) == {(queue_id, position) for queue_id, more in given for position in range(more + 1)}
    assert {queue.trouble for queue in queues} == {None}


def test_an_exclusive_opening_of_a_file_frees_what_a_killed_service_was_delivering(
    queue: Queue, open_queue: Callable[..., Queue]
) -> None:
    queue_id = accept(queue)
    claim_one(queue)
    queue.close()

    reopened = open_queue(exclusive=True)

    if reopened.path is None:
        assert recipient(reopened, queue_id).lease_owner == "mx2/worker", "another node may be delivering it"
    else:
        assert ids(reopened.claim("main", "worker").result()) == [queue_id]


def test_a_look_at_the_queue_leaves_leases_alone(queue: Queue, open_queue: Callable[..., Queue]) -> None:
    queue_id = accept(queue)
    claim_one(queue)

    assert recipient(open_queue(), queue_id).lease_owner == "mx2/worker"
    assert queue.list(Filter(ids=(queue_id,))).result()[0].recipients[0].lease_owner == "mx2/worker"
