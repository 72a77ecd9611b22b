"""Delivered content that is kept for a while: there to be listed, read and delivered once more, then gone by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mxqueue import Edit, Filter, NoSuchMessage, Outcome, Queue, RecipientState
from tests.fakes.clock import START, Clock
from tests.fakes.mail import (
    DELIVERED,
    FAILED,
    LETTER,
    accept,
    claim_one,
    content,
    deferred,
    events,
    ids,
    message,
    recipient,
    settle,
    states,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEPT = replace(DELIVERED, keep_until=START + DAY)
PENDING, DELIVERED_STATE = RecipientState.PENDING, RecipientState.DELIVERED
ALL_DELIVERED = Filter(states=frozenset({DELIVERED_STATE}))


def kept(queue: Queue, *paths: str, outcome: Outcome = KEPT) -> str:
    """A message that was delivered, and is kept."""
    queue_id = accept(queue, *paths)
    settle(queue, claim_one(queue), outcome)
    return queue_id


def redeliver(queue: Queue, wanted: Filter = ALL_DELIVERED) -> Edit:
    return queue.redeliver(wanted, "op@host", "its disk died").result()


def housekeep(queue: Queue) -> None:
    while queue.housekeep().result():
        pass


def is_gone(queue: Queue, queue_id: str) -> bool:
    try:
        content(queue, queue_id)
    except NoSuchMessage:
        return True
    return False


def test_what_is_delivered_goes_at_once_unless_it_is_kept(queue: Queue) -> None:
    gone, there = kept(queue, outcome=DELIVERED), kept(queue)
    assert is_gone(queue, gone)
    assert content(queue, there) == LETTER
    assert (message(queue, gone).keep_until, message(queue, there).keep_until) == (None, START + DAY)


def test_it_is_on_record_until_when_it_is_kept(queue: Queue) -> None:
    queue_id = kept(queue)
    assert events(queue, queue_id) == ["accepted", "delivered", "kept"]
    assert queue.show(queue_id).result()[1][-1].detail == "until 2026-03-02T12:00:00Z"


def test_what_is_kept_is_delivered_and_nothing_that_waits(queue: Queue) -> None:
    queue_id = kept(queue)
    assert queue.list().result() == []
    assert queue.count().result() == []
    assert [each.id for each in queue.list(ALL_DELIVERED).result()] == [queue_id]


def test_it_goes_by_itself_when_its_time_is_over_and_that_is_on_record(queue: Queue, clock: Clock) -> None:
    queue_id = kept(queue, "one@example.test", "two@example.test")
    clock.advance(hours=23)
    housekeep(queue)
    assert content(queue, queue_id) == LETTER

    clock.advance(hours=1)
    housekeep(queue)

    assert is_gone(queue, queue_id)
    assert [events(queue, queue_id, position)[-1] for position in (0, 1)] == ["forgotten", "forgotten"]
    assert states(queue, queue_id) == [DELIVERED_STATE] * 2


def test_what_has_gone_is_no_longer_redelivered(queue: Queue, clock: Clock) -> None:
    queue_id = kept(queue)
    clock.advance(days=1)
    assert redeliver(queue) == Edit(()), "nobody has collected it yet, and its time is over all the same"
    housekeep(queue)
    assert redeliver(queue) == Edit(())
    assert states(queue, queue_id) == [DELIVERED_STATE]


def test_redelivered_mail_is_due_at_once_with_its_content_and_who_and_why(queue: Queue, clock: Clock) -> None:
    queue_id = kept(queue)
    clock.advance(hours=1)

    assert redeliver(queue) == Edit((queue_id,))

    (claim,) = queue.claim("main", "worker").result()
    assert (claim.message.id, content(queue, queue_id)) == (queue_id, LETTER)
    last = queue.show(queue_id).result()[1][-1]
    assert (last.event, last.actor, last.detail) == ("redelivered", "op@host", "its disk died")


def test_what_was_never_kept_is_not_redelivered(queue: Queue) -> None:
    queue_id = kept(queue, outcome=DELIVERED)
    assert redeliver(queue) == Edit(())
    assert states(queue, queue_id) == [DELIVERED_STATE]


def test_only_who_was_delivered_is_delivered_again(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, FAILED, 0)
    settle(queue, claim, KEPT, 1)
    redeliver(queue)
    assert states(queue, queue_id) == [RecipientState.FAILED, PENDING]


def test_a_retry_is_no_redelivery(queue: Queue) -> None:
    queue_id = kept(queue)
    assert queue.retry(Filter(states=frozenset(RecipientState)), "op", "").result() == Edit(())
    assert states(queue, queue_id) == [DELIVERED_STATE]


def test_the_lifetime_of_redelivered_mail_begins_again(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    settle(queue, claim_one(queue), deferred(START))
    clock.advance(days=29)
    settle(queue, claim_one(queue), replace(DELIVERED, keep_until=clock() + 5 * DAY))
    clock.advance(days=2)
    redeliver(queue)

    assert queue.expire("main", clock() - timedelta(days=30), RecipientState.EXPIRED, "old").result() == 0
    assert recipient(queue, queue_id).waits_since == clock()
    assert message(queue, queue_id).arrived_at == START
    clock.advance(days=31)
    assert queue.expire("main", clock() - timedelta(days=30), RecipientState.EXPIRED, "old").result() == 1


def test_content_that_is_needed_again_outlives_its_time(queue: Queue, clock: Clock) -> None:
    queue_id = kept(queue)
    redeliver(queue)
    clock.advance(days=2)
    housekeep(queue)
    assert content(queue, queue_id) == LETTER

    settle(queue, claim_one(queue), DELIVERED)
    assert is_gone(queue, queue_id)


def test_what_is_delivered_a_second_time_is_kept_anew(queue: Queue, clock: Clock) -> None:
    queue_id = kept(queue)
    clock.advance(hours=20)
    redeliver(queue)
    settle(queue, claim_one(queue), replace(DELIVERED, keep_until=clock() + DAY))
    clock.advance(hours=20)
    housekeep(queue)
    assert content(queue, queue_id) == LETTER
    assert message(queue, queue_id).keep_until == START + timedelta(hours=44)


def test_the_recipient_delivered_last_says_how_long_it_is_kept(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, replace(DELIVERED, keep_until=START + 2 * HOUR), 0)
    settle(queue, claim, replace(DELIVERED, keep_until=START + HOUR), 1)
    assert message(queue, queue_id).keep_until == START + 2 * HOUR


def test_a_settlement_that_comes_too_late_keeps_nothing(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    (late,) = queue.claim("main", "one", lease=HOUR).result()
    clock.advance(hours=2)
    settle(queue, claim_one(queue), DELIVERED)
    assert settle(queue, late, KEPT) == [(queue_id, 0)]
    assert message(queue, queue_id).keep_until is None
    assert is_gone(queue, queue_id)


def test_mail_is_found_by_when_it_was_delivered(queue: Queue, clock: Clock) -> None:
    early = kept(queue)
    waited = accept(queue, "w@example.test")
    clock.advance(hours=6)
    settle(queue, claim_one(queue), replace(DELIVERED, keep_until=clock() + DAY))

    lately = replace(ALL_DELIVERED, delivered_after=START + HOUR)
    before = replace(ALL_DELIVERED, delivered_before=START + HOUR)
    assert [each.id for each in queue.list(lately).result()] == [waited]
    assert [each.id for each in queue.list(before).result()] == [early]
    assert redeliver(queue, lately) == Edit((waited,))


def test_what_is_kept_is_not_forgotten_with_the_ledger(queue: Queue, clock: Clock) -> None:
    queue_id = kept(queue, outcome=replace(DELIVERED, keep_until=START + timedelta(days=200)))
    clock.advance(days=150)
    housekeep(queue)
    assert content(queue, queue_id) == LETTER
    clock.advance(days=51)
    housekeep(queue)
    assert is_gone(queue, queue_id)


@pytest.mark.parametrize("size", [0, 1, 250])
def test_however_much_is_kept_all_of_it_goes(queue: Queue, clock: Clock, size: int) -> None:
    for _ in range(size):
        accept(queue)
    while claims := queue.claim("main", "worker").result():
        for claim in claims:
            settle(queue, claim, KEPT)
    kept_ids = [each.id for each in queue.list(ALL_DELIVERED).result()]
    assert len(kept_ids) == size
    clock.advance(days=2)
    housekeep(queue)
    assert all(is_gone(queue, queue_id) for queue_id in kept_ids)


def test_the_oldest_of_what_is_redelivered_goes_first(queue: Queue, clock: Clock) -> None:
    first = kept(queue)
    clock.advance(minutes=1)
    second = kept(queue)
    redeliver(queue)
    assert ids(queue.claim("main", "worker").result()) == [first, second]
