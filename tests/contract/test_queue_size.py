"""A large queue: no statement runs into a driver's limit, and the ways to the rows stay short ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from mxqueue import Filter, Outcome, Queue, RecipientState, Settlement
from mxqueue.pieces import MESSAGES
from tests.fakes.clock import START, Clock
from tests.fakes.mail import DELIVERED, accept, claim_one, deferred, settle

# PostgreSQL takes 65,535 bound values in a statement, SQLite as it is commonly built 32,766.
TOO_MANY = 70_000
SEVERAL_PIECES = 2 * MESSAGES + 1

NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, :many)) ",
}
# A ULID of START's own millisecond for each number: its last digits are all of ULID's alphabet.
IDS = {"sqlite": "printf('%s%016d', :stamp, i)", "postgresql": "CAST(:stamp AS text) || lpad(i::text, 16, '0')"}


def fill(queue: Queue, many: int) -> None:
    """So many messages, written by the database itself."""
    stamp = accept(queue)[:10]

    def op(connection: Connection) -> None:
        dialect = connection.dialect.name
        values = {"many": many - 1, "stamp": stamp, "now": int(START.timestamp() * 1_000_000), "none": b""}
        for statement, bound in FILL:
            given = {name: values[name] for name in ("many", "stamp", *bound)}
            connection.execute(text(statement.format(NUMBERS[dialect], IDS[dialect])), given)

    queue.writer.submit(op).result()


FILL = [
    (
        "INSERT INTO message (id, arrived_at, reverse_path, route, size, sha256, client_address, helo, trace, body,"
        " smtputf8, node) {} SELECT {}, :now, '', 'main', 0, :none, '', '', :none, '7BIT', false, 'mx2' FROM n",
        ("now", "none"),
    ),
    (
        "INSERT INTO recipient (message_id, position, forward_path, route, arrived_at, state, attempts, not_before,"
        " last_reply) {} SELECT {}, 0, 'u@example.test', 'main', :now, 'pending', 0, :now, '' FROM n",
        ("now",),
    ),
]


def test_more_ids_than_a_statement_has_room_for_are_looked_for(queue: Queue) -> None:
    real = tuple(accept(queue) for _ in range(3))
    wanted = Filter(ids=(*(f"{number:026}" for number in range(TOO_MANY)), *real))

    assert tuple(each.id for each in queue.list(wanted).result()) == real
    assert queue.hold(wanted, "op", "why").result().changed == real


def test_settlements_of_more_messages_than_a_statement_has_room_for_are_looked_up(queue: Queue) -> None:
    accept(queue)
    claim = claim_one(queue)
    others = [replace(claim, message=replace(claim.message, id=f"{number:026}")) for number in range(TOO_MANY)]

    answer = queue.settle([Settlement(claim, {0: DELIVERED}), *(Settlement(other, {}) for other in others)])

    assert answer.result() == []
    assert queue.count().result() == []


def test_changes_of_much_mail_reach_all_of_it(queue: Queue) -> None:
    fill(queue, SEVERAL_PIECES)

    assert len(queue.hold(Filter(), "op", "why").result().changed) == SEVERAL_PIECES
    assert len(queue.release(Filter(), "op", "why").result().changed) == SEVERAL_PIECES
    claims = queue.claim("main", "worker", limit=SEVERAL_PIECES).result()
    later = Outcome(RecipientState.PENDING, "451 later", not_before=START + timedelta(days=1))
    assert queue.settle([Settlement(claim, {0: later}) for claim in claims]).result() == []
    assert queue.flush("main").result() == SEVERAL_PIECES
    assert queue.expire("main", START + timedelta(days=1), RecipientState.EXPIRED, "old").result() == SEVERAL_PIECES
    assert queue.count().result() == []


def test_a_change_of_much_mail_is_made_in_transactions_of_bounded_size(queue: Queue) -> None:
    fill(queue, SEVERAL_PIECES)
    held = text("SELECT count(*) FROM recipient WHERE state = 'held'")
    seen: list[int] = []

    def note(connection: Connection) -> None:
        seen.append(connection.scalar(held) or 0)

    event.listen(Engine, "commit", note)
    try:
        queue.hold(Filter(), "op", "why").result()
    finally:
        event.remove(Engine, "commit", note)

    assert seen == [MESSAGES, 2 * MESSAGES, SEVERAL_PIECES]


def test_a_message_of_many_recipients_goes_all_the_way(queue: Queue) -> None:
    accept(queue, *(f"u{number}@example.test" for number in range(2_000)))
    claim = claim_one(queue)

    assert len(claim.message.recipients) == 2_000
    assert queue.extend(claim, timedelta(minutes=1)).result()
    assert settle(queue, claim, DELIVERED) == []
    assert queue.count().result() == []


# Ways to the rows -----------------------------------------------------------------------------------------------


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database meanwhile, each statement with one set of its values."""
    sent: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        sent.append((statement, values[0] if many else values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def ways(queue: Queue, work: Callable[[], Any]) -> list[str]:
    """How SQLite goes about each table in each statement of this work."""
    with statements() as sent:
        work()

    def explain(connection: Connection) -> list[str]:
        return [
            row[3]
            for statement, values in sent
            if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            if row[3].startswith(("SCAN", "SEARCH", "USE TEMP"))
        ]

    return queue.read(explain).result()


BY_ID = {
    "SEARCH recipient USING PRIMARY KEY (message_id=?)",
    "SEARCH recipient USING PRIMARY KEY (message_id=? AND position=?)",
    "SEARCH message USING PRIMARY KEY (id=?)",
    "SEARCH chunk USING INDEX sqlite_autoindex_chunk_1 (message_id=?)",
    "SEARCH chunk USING INDEX sqlite_autoindex_chunk_1 (message_id=? AND position=?) LEFT-JOIN",
    "SCAN json_each VIRTUAL TABLE INDEX 1:",
}


# From one domain to the next, a look each.
BY_DOMAIN = {
    "SEARCH recipient USING COVERING INDEX recipient_turn (route=? AND domain>?)",
    "SCAN each",
    "SCAN CONSTANT ROW",
}


@pytest.fixture
def file_queue(tmp_path: Any, clock: Clock) -> Iterator[Queue]:
    """An SQLite queue with something in it."""
    queue = Queue.open(f"sqlite:///{tmp_path}/queue.db", node="mx2", clock=clock, exclusive=True)
    for number in range(20):
        accept(queue, "one@example.test", "two@example.test", route=f"route-{number % 3}")
    yield queue
    queue.close()


def test_a_claim_goes_by_the_index_of_what_is_due_and_then_by_id(file_queue: Queue) -> None:
    found = ways(file_queue, lambda: file_queue.claim("route-1", "worker").result())

    assert set(found) - BY_ID == {
        *BY_DOMAIN,
        "SEARCH recipient USING INDEX recipient_due (route=? AND not_before<?)",
    }


def test_a_claim_in_turn_goes_by_the_index_of_domains_and_then_by_id(file_queue: Queue) -> None:
    accept(file_queue, "one@other.test", route="route-1")

    found = ways(file_queue, lambda: file_queue.claim("route-1", "worker").result())

    assert set(found) - BY_ID == {
        *BY_DOMAIN,
        "SEARCH recipient USING INDEX recipient_turn (route=? AND domain=? AND not_before<?)",
    }


def test_a_settlement_goes_by_id(file_queue: Queue) -> None:
    claim = claim_one(file_queue, "route-1")
    outcomes = {0: DELIVERED, 1: deferred(START)}

    found = ways(file_queue, lambda: file_queue.settle([Settlement(claim, outcomes)]).result())

    assert set(found) <= BY_ID


def test_contents_are_found_by_id(file_queue: Queue) -> None:
    ids = [claim.message.id for claim in file_queue.claim("route-1", "worker").result()]

    assert set(ways(file_queue, lambda: file_queue.contents(ids).result())) <= BY_ID


def test_a_count_reads_the_partial_indexes_alone(file_queue: Queue) -> None:
    found = set(ways(file_queue, lambda: file_queue.count().result()))

    assert found - BY_ID == {
        "SCAN recipient USING COVERING INDEX recipient_due",
        "SCAN recipient USING COVERING INDEX recipient_held",
        "SEARCH earlier USING PRIMARY KEY (message_id=? AND position<?)",
    }


def test_next_due_reads_the_first_of_the_index(file_queue: Queue) -> None:
    found = ways(file_queue, lambda: file_queue.next_due("route-1").result())

    assert found == ["SEARCH recipient USING INDEX recipient_due (route=?)"]


def test_expiry_looks_at_nothing_younger_than_its_bound(file_queue: Queue) -> None:
    def expire() -> None:
        file_queue.expire("route-1", START + timedelta(days=1), RecipientState.HELD, "old").result()

    assert set(ways(file_queue, expire)) - BY_ID == {"SEARCH recipient USING PRIMARY KEY (message_id<?)"}


def test_a_flush_looks_at_what_waits_alone(file_queue: Queue) -> None:
    settle(file_queue, claim_one(file_queue, "route-1"), deferred(START + timedelta(days=1)))

    found = ways(file_queue, lambda: file_queue.flush("route-1").result())

    assert set(found) - BY_ID == {
        "SEARCH recipient USING COVERING INDEX recipient_due (route=? AND not_before>?)",
        "USE TEMP B-TREE FOR DISTINCT",
    }


def test_forgetting_looks_at_nothing_younger_than_its_bound(file_queue: Queue) -> None:
    found = set(ways(file_queue, lambda: file_queue.housekeep().result()))

    assert found - BY_ID == {
        "SEARCH message USING PRIMARY KEY (id<?)",
        "SEARCH ledger USING INDEX ix_ledger_message_id (message_id=?)",
        "SEARCH ledger USING INTEGER PRIMARY KEY (rowid=?)",
        "SCAN ledger",
        "SCAN anon_1",
        "SEARCH message USING COVERING INDEX message_kept (keep_until<?)",
    }, "the scan of the ledger ends at its limit"


def test_giving_up_what_has_aged_looks_at_nothing_younger_than_its_bound(file_queue: Queue) -> None:
    found = ways(file_queue, lambda: file_queue.claim_aged("route-1", START + timedelta(days=1), "worker").result())

    assert set(found) - BY_ID == {"SEARCH recipient USING PRIMARY KEY (message_id<?)"}


@pytest.mark.parametrize("after", [None, "01KJMMA2G0"])
def test_a_page_of_a_listing_is_read_in_order_without_sorting_all_that_waits(
    file_queue: Queue, after: str | None
) -> None:
    pending = frozenset({RecipientState.PENDING})
    for wanted in (Filter(), Filter(route="route-1"), Filter(route="route-1", states=pending)):
        found = ways(file_queue, lambda w=wanted: file_queue.list(w, limit=3, after=after).result())  # type: ignore[misc]

        assert not [way for way in found if "TEMP" in way or "recipient_due" in way]
