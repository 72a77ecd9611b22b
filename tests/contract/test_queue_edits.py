"""What an operator, or time, does to mail: each edit from the states it starts from, on the record, and never to
what is being delivered at that moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

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


# Expiry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [RecipientState.EXPIRED, RecipientState.HELD])
def test_what_is_older_expires_into_the_state_asked_for(queue: Queue, clock: Clock, state: RecipientState) -> None:
    old, two = accept(queue), accept(queue, "one@example.test", "two@example.test")
    clock.advance(days=2)
    young = accept(queue)

    assert queue.expire("main", clock() - timedelta(days=1), state, "older than a day").result() == 3

    assert states(queue, old) + states(queue, two) == [state] * 3
    assert states(queue, young) == [RecipientState.PENDING]
    last = queue.show(old).result()[1][-1]
    assert (last.event, last.detail, last.at) == (state.value, "older than a day", START + timedelta(days=2))


def test_what_arrived_at_the_very_moment_has_not_expired(queue: Queue) -> None:
    accept(queue)

    assert queue.expire("main", START, RecipientState.EXPIRED, "old").result() == 0
    assert queue.expire("main", START + timedelta(microseconds=1), RecipientState.EXPIRED, "old").result() == 1


def test_expiry_keeps_to_its_route(queue: Queue) -> None:
    queue_id = accept(queue, route="other")

    assert queue.expire("main", START + MINUTE, RecipientState.EXPIRED, "old").result() == 0
    assert states(queue, queue_id) == [RecipientState.PENDING]


def test_the_last_reply_of_what_expires_is_what_the_next_hop_said(queue: Queue) -> None:
    tried = put(queue, RecipientState.PENDING)
    untried = accept(queue, "v@example.test")
    queue.expire("main", START + MINUTE, RecipientState.EXPIRED, "too old").result()

    assert recipient(queue, tried).last_reply == "451 4.7.1 later"
    assert recipient(queue, untried).last_reply == "too old"


def test_what_is_being_delivered_does_not_expire_until_its_lease_has(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    (claim,) = queue.claim("main", "worker", lease=MINUTE).result()
    assert queue.expire("main", START + MINUTE, RecipientState.EXPIRED, "old").result() == 0

    clock.advance(minutes=1)
    assert queue.expire("main", START + MINUTE, RecipientState.EXPIRED, "old").result() == 1
    assert settle(queue, claim, DELIVERED) == [(queue_id, 0)], "it ends once"


def test_the_content_of_what_has_expired_is_deleted_and_of_what_is_held_kept(queue: Queue) -> None:
    expired, held = accept(queue, route="one"), accept(queue, route="two")
    queue.expire("one", START + MINUTE, RecipientState.EXPIRED, "old").result()
    queue.expire("two", START + MINUTE, RecipientState.HELD, "old").result()

    with pytest.raises(NoSuchMessage):
        queue.content(expired).result()
    assert content(queue, held) == LETTER


# Forgetting -----------------------------------------------------------------------------------------------------


def rows(queue: Queue, table: str) -> int:
    return int(queue.read(lambda connection: connection.scalar(text(f"SELECT count(*) FROM {table}"))).result())


def test_what_finished_before_the_retention_is_forgotten_with_its_story(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    settle(queue, claim_one(queue), DELIVERED)
    clock.advance(days=90)
    assert queue.housekeep().result() == 0

    clock.advance(microseconds=1)
    assert queue.housekeep().result() == 5
    assert [rows(queue, table) for table in ("message", "recipient", "chunk", "ledger")] == [0, 0, 0, 0]
    with pytest.raises(NoSuchMessage):
        queue.show(queue_id).result()


@pytest.mark.parametrize("state", [RecipientState.PENDING, RecipientState.HELD])
def test_what_is_live_is_never_forgotten(queue: Queue, clock: Clock, state: RecipientState) -> None:
    queue_id = put(queue, state)
    clock.advance(days=3650)
    queue.housekeep().result()

    assert states(queue, queue_id) == [state]
    assert content(queue, queue_id) == LETTER


def test_a_message_is_kept_while_one_recipient_is_live(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, DELIVERED, 0)
    settle(queue, claim, HELD, 1)
    clock.advance(days=3650)
    queue.housekeep().result()

    assert states(queue, queue_id) == [RecipientState.DELIVERED, RecipientState.HELD]


def test_a_message_is_kept_as_long_as_the_last_row_of_its_story(queue: Queue, clock: Clock) -> None:
    queue_id = put(queue, RecipientState.HELD)
    clock.advance(days=100)
    edit(queue, "remove", Filter())
    clock.advance(days=89)
    queue.housekeep().result()

    assert events(queue, queue_id) == ["removed"]


def test_the_retention_is_a_setting(queue: Queue, open_queue: Callable[..., Queue], clock: Clock) -> None:
    put(queue, RecipientState.DELIVERED)
    queue.close()
    clock.advance(days=2)

    shorter = open_queue(exclusive=True, ledger_retention=timedelta(days=1))
    assert shorter.housekeep().result() > 0
    assert rows(shorter, "message") == 0


def test_a_large_past_is_forgotten_in_bounded_pieces(queue: Queue, clock: Clock) -> None:
    for _ in range(3):
        accept(queue, *(f"u{number}@example.test" for number in range(700)))
    edit(queue, "remove", Filter())
    clock.advance(days=91)

    assert queue.housekeep().result() <= 2000
    assert rows(queue, "ledger") == 3200
    while queue.housekeep().result():
        pass
    assert [rows(queue, "ledger"), rows(queue, "recipient")] == [0, 0]
