"""What an operator, or time, does to mail: each edit from the states it starts from, on the record, and never to
what is being delivered at that moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from mxqueue import Edit, Filter, NoSuchMessage, Queue, RecipientState
from tests.fakes.clock import START, Clock
from tests.fakes.mail import (
    DELIVERED,
    FAILED,
    HELD,
    LETTER,
    accept,
    claim_one,
    content,
    deferred,
    events,
    ids,
    recipient,
    settle,
    states,
)

MINUTE = timedelta(minutes=1)
LATER = START + timedelta(days=1)
EDITS = ["hold", "release", "retry", "remove"]


def edit(queue: Queue, what: str, wanted: Filter) -> Edit:
    found: Edit = getattr(queue, what)(wanted, "op@host", "because").result()
    return found


def put(queue: Queue, state: RecipientState) -> str:
    """A message whose one recipient is in this state; what is pending waits out a backoff."""
    if state is RecipientState.EXPIRED:
        queue_id = accept(queue, route="expiring")
        queue.expire("expiring", START + MINUTE, state, "old").result()
        return queue_id
    queue_id = accept(queue)
    if state is RecipientState.REMOVED:
        edit(queue, "remove", Filter(ids=(queue_id,)))
        return queue_id
    outcomes = {
        RecipientState.PENDING: deferred(LATER),
        RecipientState.HELD: HELD,
        RecipientState.DELIVERED: DELIVERED,
        RecipientState.FAILED: FAILED,
    }
    settle(queue, claim_one(queue), outcomes[state])
    return queue_id


BECOMES = {
    "hold": {RecipientState.PENDING: RecipientState.HELD},
    "release": {RecipientState.HELD: RecipientState.PENDING},
    "retry": {RecipientState.PENDING: RecipientState.PENDING},
    "remove": {RecipientState.PENDING: RecipientState.REMOVED, RecipientState.HELD: RecipientState.REMOVED},
}
CALLED = {"hold": "held", "release": "released", "retry": "retried", "remove": "removed"}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_changes_what_is_in_a_state_it_starts_from_and_nothing_else(queue: Queue, what: str) -> None:
    mail = {state: put(queue, state) for state in RecipientState}
    before = {state: events(queue, queue_id) for state, queue_id in mail.items()}

    done = edit(queue, what, Filter(states=frozenset(RecipientState)))

    assert done == Edit(tuple(sorted(mail[state] for state in BECOMES[what])))
    for state, queue_id in mail.items():
        assert states(queue, queue_id) == [BECOMES[what].get(state, state)]
        assert events(queue, queue_id) == before[state] + ([CALLED[what]] if state in BECOMES[what] else [])


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_on_record_with_who_and_why(queue: Queue, clock: Clock, what: str) -> None:
    queue_id = put(queue, next(iter(BECOMES[what])))
    clock.advance(seconds=9)
    edit(queue, what, Filter())

    last = queue.show(queue_id).result()[1][-1]

    assert (last.actor, last.detail, last.at) == ("op@host", "because", START + timedelta(seconds=9))
    assert (last.forward_path, last.node) == ("u@example.test", "mx2")


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_that_matches_nothing_changes_nothing(queue: Queue, what: str) -> None:
    queue_id = accept(queue)

    assert edit(queue, what, Filter(ids=("01KJMMA2G00000000000000000",))) == Edit(())
    assert edit(queue, what, Filter(states=frozenset({RecipientState.DELIVERED}))) == Edit(())
    assert events(queue, queue_id) == ["accepted"]


@pytest.mark.parametrize("what", ["hold", "retry", "remove"])
def test_what_is_being_delivered_is_busy_and_left_alone(queue: Queue, clock: Clock, what: str) -> None:
    busy = accept(queue)
    claim = claim_one(queue)
    free = accept(queue, "v@example.test")

    assert edit(queue, what, Filter()) == Edit((free,), (busy,))

    assert settle(queue, claim, DELIVERED) == []
    assert states(queue, busy) == [RecipientState.DELIVERED]


def test_a_message_is_busy_as_a_whole_when_one_matching_recipient_is(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, deferred(LATER), 0)

    assert edit(queue, "hold", Filter()) == Edit((), (queue_id,))


@pytest.mark.parametrize("what", ["hold", "retry", "remove"])
def test_a_lease_that_ran_out_does_not_make_busy(queue: Queue, clock: Clock, what: str) -> None:
    queue_id = accept(queue)
    queue.claim("main", "worker", lease=MINUTE).result()
    clock.advance(minutes=1)

    assert edit(queue, what, Filter()) == Edit((queue_id,))
    assert recipient(queue, queue_id).lease_owner is None


def test_an_edit_touches_only_the_recipients_it_means(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@other.test", "three@example.test")

    edit(queue, "hold", Filter(domain="example.test"))

    assert states(queue, queue_id) == [RecipientState.HELD, RecipientState.PENDING, RecipientState.HELD]
    assert [len(events(queue, queue_id, position)) for position in range(3)] == [2, 1, 2]


def test_an_edit_by_sender_touches_that_senders_mail(queue: Queue) -> None:
    accept(queue, reverse_path="other@sender.test")
    queue_id = accept(queue, reverse_path="Spammer@sender.test")

    assert edit(queue, "remove", Filter(sender="spammer@sender.test")).changed == (queue_id,)


def test_changed_messages_are_told_in_the_order_of_arrival(queue: Queue, clock: Clock) -> None:
    accepted = []
    for _ in range(5):
        accepted.append(accept(queue))
        clock.advance(seconds=1)

    assert edit(queue, "hold", Filter()).changed == tuple(accepted)


def test_what_is_held_is_not_claimed(queue: Queue) -> None:
    accept(queue)
    edit(queue, "hold", Filter())

    assert queue.claim("main", "worker").result() == []


@pytest.mark.parametrize(("state", "what"), [(RecipientState.HELD, "release"), (RecipientState.PENDING, "retry")])
def test_what_is_released_or_retried_is_due_at_once(queue: Queue, state: RecipientState, what: str) -> None:
    queue_id = put(queue, state)
    assert queue.claim("main", "worker").result() == []
    edit(queue, what, Filter())

    assert ids(queue.claim("main", "worker").result()) == [queue_id]


def test_a_retry_keeps_the_attempts_and_the_last_reply(queue: Queue) -> None:
    queue_id = put(queue, RecipientState.PENDING)
    edit(queue, "retry", Filter())

    assert (recipient(queue, queue_id).attempts, recipient(queue, queue_id).last_reply) == (1, "451 4.7.1 later")


def test_a_hold_keeps_the_content(queue: Queue) -> None:
    queue_id = accept(queue)
    edit(queue, "hold", Filter())

    assert content(queue, queue_id) == LETTER


def test_a_removal_deletes_the_content_and_keeps_the_story(queue: Queue) -> None:
    queue_id = accept(queue)
    edit(queue, "remove", Filter())

    with pytest.raises(NoSuchMessage):
        queue.content(queue_id).result()
    assert events(queue, queue_id) == ["accepted", "removed"]


def test_a_removal_of_one_recipient_keeps_the_content_for_the_other(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    edit(queue, "remove", Filter(recipient="one@example.test"))

    assert content(queue, queue_id) == LETTER


def test_an_edit_stands_after_a_restart(queue: Queue, open_queue: Callable[..., Queue]) -> None:
    queue_id = accept(queue)
    edit(queue, "hold", Filter())
    queue.close()

    assert states(open_queue(exclusive=True), queue_id) == [RecipientState.HELD]


def test_an_edit_by_another_process_counts_for_the_service(queue: Queue, open_queue: Callable[..., Queue]) -> None:
    accept(queue)
    edit(open_queue(), "hold", Filter())

    assert queue.claim("main", "worker").result() == []
