"""Mail that was in a queue before: taken over under a new id, on record under both, and once."""

from __future__ import annotations

from datetime import timedelta

from mxqueue import BytesContent, Filter, LedgerEvent, Origin, Queue, RecipientState
from tests.fakes.clock import START, Clock
from tests.fakes.mail import LETTER, accept, content, envelope, events, message, recipient, states

OLD = Origin("01K4QZ6YB3T9V5XW2N8M7RCD1E", "01K4QZ6YB3T9V5XW2N8M7RCD1E at mx9")
PENDING, HELD = RecipientState.PENDING, RecipientState.HELD


def take(queue: Queue, origin: Origin = OLD, *paths: str, again: bool = False) -> tuple[str, ...] | None:
    return queue.take_over(
        [envelope(*paths)], BytesContent(LETTER), origin, "op@host", "stranded", again=again
    ).result()


def taken(queue: Queue, origin: Origin = OLD, *paths: str, again: bool = False) -> str:
    ids = take(queue, origin, *paths, again=again)
    assert ids is not None
    (queue_id,) = ids
    return queue_id


def test_what_is_taken_over_is_there_whole_and_due_under_a_new_id(queue: Queue, clock: Clock) -> None:
    clock.advance(days=3)
    queue_id = taken(queue)

    assert queue_id != OLD.key
    assert content(queue, queue_id) == LETTER
    assert message(queue, queue_id).arrived_at == START + timedelta(days=3)
    assert [claim.message.id for claim in queue.claim("main", "worker").result()] == [queue_id]


def test_the_ledger_says_what_it_was_and_by_whom_and_why_it_came(queue: Queue) -> None:
    story = queue.show(taken(queue)).result()[1]

    assert [row.event for row in story] == [LedgerEvent.ACCEPTED, LedgerEvent.IMPORTED]
    assert (story[1].detail, story[1].actor) == (f"was {OLD.name}: stranded", "op@host")


def test_under_the_old_id_stands_how_it_goes_on(queue: Queue) -> None:
    old = accept(queue)
    new = taken(queue, Origin(old, "here"), again=True)

    last = queue.show(old).result()[1][-1]
    assert (last.event, last.detail, last.actor) == (LedgerEvent.CONTINUED, f"as {new}: stranded", "op@host")


def test_the_same_mail_is_taken_over_once(queue: Queue) -> None:
    queue_id = taken(queue)

    assert take(queue) is None
    assert queue.is_known(OLD).result()
    assert [each.id for each in queue.list().result()] == [queue_id]


def test_what_is_still_in_this_queue_is_no_mail_to_take_over(queue: Queue) -> None:
    assert take(queue, Origin(accept(queue), "here")) is None


def test_what_was_removed_here_can_be_taken_over_again(queue: Queue) -> None:
    old = accept(queue)
    queue.remove(Filter(ids=(old,)), "op", "by mistake").result()

    assert not queue.is_known(Origin(old, "here")).result()
    assert taken(queue, Origin(old, "here")) != old


def test_a_second_copy_is_taken_where_it_is_asked_for(queue: Queue) -> None:
    first, second = taken(queue), taken(queue, again=True)

    assert [each.id for each in queue.list().result()] == sorted([first, second])


def test_who_was_held_stays_held_and_nobody_else(queue: Queue) -> None:
    origin = Origin(OLD.key, OLD.name, held=frozenset({"two@example.test"}))
    queue_id = taken(queue, origin, "one@example.test", "two@example.test")

    assert states(queue, queue_id) == [PENDING, HELD]
    assert events(queue, queue_id, 0) == ["accepted", "imported"]
    assert events(queue, queue_id, 1) == ["accepted", "imported", "held"]


def test_envelopes_of_one_message_are_taken_over_together(queue: Queue) -> None:
    envelopes = [envelope(route="one"), envelope(route="two")]
    ids = queue.take_over(envelopes, BytesContent(LETTER), OLD, "op", "").result()

    assert ids is not None
    assert [message(queue, each).route for each in ids] == ["one", "two"]
    assert take(queue) is None


def test_an_export_is_on_record_for_each_recipient_and_changes_nothing(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test")
    before = message(queue, queue_id)
    queue.note_export([queue_id], "op@host", "to /root/mail: why").result()

    assert message(queue, queue_id) == before
    assert [events(queue, queue_id, position)[-1] for position in (0, 1)] == ["exported", "exported"]
    last = queue.show(queue_id).result()[1][-1]
    assert (last.actor, last.detail) == ("op@host", "to /root/mail: why")


def test_what_came_in_by_a_take_over_has_been_tried_by_nobody(queue: Queue) -> None:
    found = recipient(queue, taken(queue))
    assert (found.attempts, found.last_reply) == (0, "")
