"""The shape of what waits, and the ledger of a recipient, on both databases."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from mxqueue import Envelope, LedgerEvent, Queue, RecipientState
from mxqueue.engine import make_engine
from mxqueue.shape import Cut, Row, Shape, _classes, statement
from tests.fakes.clock import Clock
from tests.fakes.mail import DELIVERED, HELD, accept, claim_one, settle

MINUTE = timedelta(minutes=1)


def shape(queue: Queue, cut: Cut | None = None) -> Shape:
    return queue.shape(cut).result()


def by_domain(found: Shape) -> dict[str, tuple[int, ...]]:
    return {row.domain: row.counts for row in found.rows}


def test_an_empty_queue_has_no_shape(queue: Queue) -> None:
    assert shape(queue).rows == ()
    assert shape(queue).total == (0,) * 10


def test_classes_of_age_double_and_the_last_has_what_is_older(queue: Queue, clock: Clock) -> None:
    ages = (2000, 1281, 1279, 11, 9, 4, 0)
    before = ages[0]
    for age in ages:
        clock.advance(minutes=before - age)
        before = age
        accept(queue, "u@example.test")
    found = shape(queue)
    assert [end / MINUTE for end in found.ends] == [5, 10, 20, 40, 80, 160, 320, 640, 1280]
    assert by_domain(found) == {"example.test": (2, 1, 1, 0, 0, 0, 0, 0, 1, 2)}


def test_what_is_exactly_as_old_as_a_class_ends_is_in_the_next_or_still_in_it_but_never_in_both(
    queue: Queue, clock: Clock
) -> None:
    accept(queue, "u@example.test")
    clock.advance(minutes=5)
    counts = by_domain(shape(queue))["example.test"]
    assert sum(counts) == 1
    assert sum(counts[:2]) == 1


def test_recipients_are_counted_by_domain_the_largest_first(queue: Queue) -> None:
    accept(queue, "a@small.test")
    accept(queue, "a@Large.Test", "b@large.test")
    assert [(row.domain, row.total) for row in shape(queue).rows] == [("large.test", 2), ("small.test", 1)]


def test_what_is_delivered_is_not_counted_and_what_is_held_is(queue: Queue) -> None:
    accept(queue, "d@example.test")
    settle(queue, claim_one(queue), DELIVERED)
    accept(queue, "h@example.test")
    settle(queue, claim_one(queue), HELD)
    accept(queue, "p@example.test")
    held, pending = (Cut(states=frozenset({state})) for state in (RecipientState.HELD, RecipientState.PENDING))
    assert [shape(queue, cut).rows[0].total for cut in (Cut(), held, pending)] == [2, 1, 1]


def test_a_route_is_counted_alone(queue: Queue) -> None:
    accept(queue, "a@one.test")
    accept(queue, "a@two.test", route="other")
    assert list(by_domain(shape(queue, Cut(route="other")))) == ["two.test"]


def test_senders_are_counted_by_message_and_by_what_stands_behind_the_last_at_sign(queue: Queue) -> None:
    accept(queue, "a@example.test", "b@example.test", reverse_path='"x@y"@Sender.Test')
    accept(queue, "a@example.test", reverse_path="z@sender.test")
    accept(queue, "a@example.test", reverse_path="")
    found = shape(queue, Cut(senders=True))
    assert [(row.domain, row.total) for row in found.rows] == [("sender.test", 2), ("", 1)]


def test_beyond_the_largest_domains_the_rest_is_summed_up(queue: Queue, clock: Clock) -> None:
    for number in range(5):
        accept(queue, *(f"u{each}@d{number}.test" for each in range(number + 1)))
    clock.advance(minutes=7)
    accept(queue, "late@d0.test")
    found = shape(queue, Cut(largest=2))
    assert [row.domain for row in found.rows] == ["d4.test", "d3.test"]
    assert found.others == 3
    assert found.others_counts[:2] == (1, 6)
    assert sum(found.total) == 16


def test_the_ages_of_what_is_pending_are_read_along_an_index_alone(tmp_path, queue: Queue, clock: Clock) -> None:
    if queue.path is None:
        return
    query = statement(Cut(states=frozenset({RecipientState.PENDING})), clock())
    text = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with make_engine(f"sqlite:///{queue.path}", writes=False).connect() as connection:
        plan = " | ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
    assert "USING COVERING INDEX recipient_turn" in plan


@given(st.lists(st.integers(0, 9), min_size=2, max_size=12))
def test_classes_add_up_to_all(counts: list[int]) -> None:
    younger = [sum(counts[: end + 1]) for end in range(len(counts) - 1)]
    assert _classes(sum(counts), *younger) == tuple(counts)
    assert Row("d", tuple(counts)).total == sum(counts)


# The ledger of a recipient ------------------------------------------------------------------------------------------


def test_the_ledger_of_a_recipient_has_its_mail_alone_whatever_its_capitals(queue: Queue, clock: Clock) -> None:
    first = accept(queue, "bob@example.test", "carol@example.test")
    settle(queue, claim_one(queue), DELIVERED)
    clock.advance(minutes=1)
    second = accept(queue, "Bob@Example.TEST")
    rows = queue.past_of("BOB@example.test").result()
    assert [(row.message_id, row.event) for row in rows] == [
        (first, LedgerEvent.ACCEPTED),
        (first, LedgerEvent.DELIVERED),
        (second, LedgerEvent.ACCEPTED),
    ]


def test_a_page_of_the_ledger_goes_on_behind_the_last_message(queue: Queue, clock: Clock) -> None:
    ids = []
    for _ in range(3):
        clock.advance(minutes=1)
        ids.append(accept(queue, "bob@example.test"))
    assert [row.message_id for row in queue.past_of("bob@example.test", limit=2).result()] == ids[:2]
    assert [row.message_id for row in queue.past_of("bob@example.test", after=ids[1]).result()] == ids[2:]


def test_since_leaves_out_what_arrived_earlier(queue: Queue, clock: Clock) -> None:
    accept(queue, "bob@example.test")
    clock.advance(minutes=10)
    late = accept(queue, "bob@example.test")
    rows = queue.past_of("bob@example.test", since=clock() - MINUTE).result()
    assert [row.message_id for row in rows] == [late]


def test_the_ledger_of_a_message_that_never_was_is_empty(queue: Queue) -> None:
    assert queue.past("01K4QZ6YB3T9V5XW2N8M7RCD1E").result() == []


def test_the_ledger_of_a_message_is_its_whole_story(queue: Queue) -> None:
    queue_id = queue.accept([Envelope("a@example.com", ("b@example.test",), "main")], _content()).result()[0]
    settle(queue, claim_one(queue), DELIVERED)
    assert [row.event for row in queue.past(queue_id).result()] == [LedgerEvent.ACCEPTED, LedgerEvent.DELIVERED]


def _content():
    from mxqueue import BytesContent

    return BytesContent(b"x")
