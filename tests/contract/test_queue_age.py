"""What time does to mail: it expires, and what is finished is forgotten after a while."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from mxqueue import Filter, NoSuchMessage, Queue, RecipientState
from tests.fakes.clock import START, Clock
from tests.fakes.mail import (
    DELIVERED,
    HELD,
    LETTER,
    accept,
    claim_one,
    content,
    deferred,
    events,
    recipient,
    settle,
    states,
)

MINUTE = timedelta(minutes=1)
LATER = START + timedelta(days=1)


def tried(queue: Queue) -> str:
    """A message whose one attempt was deferred."""
    queue_id = accept(queue)
    settle(queue, claim_one(queue), deferred(LATER))
    return queue_id


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
    once = tried(queue)
    untried = accept(queue, "v@example.test")
    queue.expire("main", START + MINUTE, RecipientState.EXPIRED, "too old").result()

    assert recipient(queue, once).last_reply == "451 4.7.1 later"
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


def test_what_is_live_is_never_forgotten(queue: Queue, clock: Clock) -> None:
    pending, held = tried(queue), accept(queue)
    settle(queue, claim_one(queue), HELD)
    clock.advance(days=3650)
    queue.housekeep().result()

    assert states(queue, pending) + states(queue, held) == [RecipientState.PENDING, RecipientState.HELD]
    assert [content(queue, each) for each in (pending, held)] == [LETTER, LETTER]


def test_a_message_is_kept_while_one_recipient_is_live(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    claim = claim_one(queue)
    settle(queue, claim, DELIVERED, 0)
    settle(queue, claim, HELD, 1)
    clock.advance(days=3650)
    queue.housekeep().result()

    assert states(queue, queue_id) == [RecipientState.DELIVERED, RecipientState.HELD]


def test_a_message_is_kept_as_long_as_the_last_row_of_its_story(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    settle(queue, claim_one(queue), HELD)
    clock.advance(days=100)
    queue.remove(Filter(), "op", "spam").result()
    clock.advance(days=89)
    queue.housekeep().result()

    assert events(queue, queue_id) == ["removed"]


def test_the_retention_is_a_setting(queue: Queue, open_queue: Callable[..., Queue], clock: Clock) -> None:
    accept(queue)
    settle(queue, claim_one(queue), DELIVERED)
    queue.close()
    clock.advance(days=2)

    shorter = open_queue(exclusive=True, ledger_retention=timedelta(days=1))
    assert shorter.housekeep().result() > 0
    assert rows(shorter, "message") == 0


def test_a_large_past_is_forgotten_in_bounded_pieces(queue: Queue, clock: Clock) -> None:
    for _ in range(3):
        accept(queue, *(f"u{number}@example.test" for number in range(700)))
    queue.remove(Filter(), "op", "spam").result()
    clock.advance(days=91)

    assert queue.housekeep().result() <= 2000
    assert rows(queue, "ledger") == 3200
    while queue.housekeep().result():
        pass
    assert [rows(queue, "ledger"), rows(queue, "recipient")] == [0, 0]
