"""Two nodes on one PostgreSQL: what they do at the same moment comes out as if one had gone first."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from mxqueue import Filter, NoSuchMessage, Queue, RecipientState, Settlement
from mxqueue.edits import REMOVE, EditRequest, edit
from mxqueue.model import utc_now
from tests.fakes.mail import DELIVERED, accept, claim_one, deferred, states

Nodes = tuple[Queue, Queue]


@pytest.fixture
def nodes(postgres_url: str) -> Iterator[Nodes]:
    opened = (
        Queue.open(postgres_url, node="mx2", exclusive=True),
        Queue.open(postgres_url, node="mx3", exclusive=True),
    )
    yield opened
    for queue in opened:
        queue.close()


class HeldOpen:
    """A transaction of one node that has done `op` and commits when it is told to."""

    def __init__(self, queue: Queue, op: Any) -> None:
        self._did, self._go_on = threading.Event(), threading.Event()
        self._op = op
        self._future = queue.writer.submit(self._run)
        assert self._did.wait(timeout=30)

    def _run(self, connection: Connection) -> None:
        self._op(connection)
        self._did.set()
        self._go_on.wait()

    def commit(self) -> None:
        self._go_on.set()
        self._future.result()


def wait_until_it_waits_or_is_done(queue: Queue, future: Future[Any]) -> None:
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while not future.done():
        if queue.read(lambda connection: connection.scalar(waiting)).result():
            return
        time.sleep(0.01)


def test_content_goes_when_two_nodes_end_the_last_two_recipients_at_once(nodes: Nodes) -> None:
    one, other = nodes
    queue_id = accept(one, "removed@example.test", "delivered@example.test")
    claim = claim_one(other)
    other.settle([Settlement(claim, {0: deferred(utc_now())})]).result()

    request = EditRequest(REMOVE, Filter(recipient="removed@example.test"), "op", "spam", utc_now(), "mx2")
    held = HeldOpen(one, lambda connection: edit(connection, request, [queue_id]))
    answer = other.settle([Settlement(claim, {1: DELIVERED})])
    wait_until_it_waits_or_is_done(other, answer)
    held.commit()

    assert answer.result() == []
    assert states(one, queue_id) == [RecipientState.REMOVED, RecipientState.DELIVERED]
    assert one.read(lambda connection: connection.scalar(text("SELECT count(*) FROM chunk"))).result() == 0
    with pytest.raises(NoSuchMessage):
        one.content(queue_id).result()


def test_a_claim_passes_over_what_another_node_is_claiming(nodes: Nodes) -> None:
    one, other = nodes
    taken, free = accept(one), accept(one)
    lock = text("SELECT id FROM message WHERE id = :id FOR UPDATE")
    held = HeldOpen(one, lambda connection: connection.execute(lock, {"id": taken}).all())

    claims = other.claim("main", "worker").result(timeout=30)

    assert [claim.message.id for claim in claims] == [free]
    held.commit()


def test_a_claim_and_an_edit_at_once_leave_the_mail_to_one_of_them(nodes: Nodes) -> None:
    one, other = nodes
    for _ in range(30):
        queue_id = accept(one, "a@example.test", "b@example.test")
        claim, edit = one.claim("main", "worker"), other.hold(Filter(ids=(queue_id,)), "op", "why")

        claimed = [each.position for each in claim.result()[0].message.recipients] if claim.result() else []

        if claimed:
            assert claimed == [0, 1]
            assert (edit.result().changed, states(one, queue_id)) == ((), [RecipientState.PENDING] * 2)
        else:
            assert edit.result().changed == (queue_id,)
            assert states(one, queue_id) == [RecipientState.HELD] * 2


def test_a_settlement_after_another_node_took_over_is_refused(nodes: Nodes) -> None:
    one, other = nodes
    queue_id = accept(one)
    (slept,) = one.claim("main", "worker", lease=timedelta(0)).result()
    taken = claim_one(other)

    assert one.settle([Settlement(slept, {0: DELIVERED})]).result() == [(queue_id, 0)]
    assert other.settle([Settlement(taken, {0: DELIVERED})]).result() == []


def test_nodes_that_forget_at_once_do_not_trip_over_each_other(postgres_url: str) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    opened = [Queue.open(postgres_url, node=f"mx{n}", clock=lambda: now[0], exclusive=True) for n in range(2)]
    for _ in range(50):
        accept(opened[0])
    opened[0].remove(Filter(), "op", "old").result()
    now[0] += timedelta(days=91)

    forgotten = [future.result() for future in [queue.housekeep() for queue in opened * 3]]

    assert sum(forgotten) == 150
    for queue in opened:
        queue.close()
