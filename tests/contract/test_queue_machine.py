"""The queue against a plain model of it: whatever is done in whatever order, both come out the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from mxqueue import LIVE_STATES, BytesContent, Claim, Filter, Outcome, Queue, RecipientState, RouteCount, Settlement
from tests.fakes.clock import Clock
from tests.fakes.mail import envelope
from tests.fakes.model_queue import EDITS, LEASE, ModelQueue, Row
from tests.fakes.postgres import SharedQueueDatabase
from tests.fakes.tables import lay

# More of them find more; these take some ten seconds.
EXAMPLES = int(os.environ.get("FALLBACK_MX_EXAMPLES", "12"))

routes = st.sampled_from(["one", "one", "one", "two"])
paths = st.lists(st.sampled_from(["a@example.test", "b@example.test", "c@other.test"]), min_size=1, max_size=3)
minutes = st.integers(0, 30)
rarely = st.sampled_from([False, False, False, True])


class QueueMachine(RuleBasedStateMachine):
    """`open_queue` gives the queue; `is_alone` says whether a restart ends the leases of the life before."""

    open_queue: Callable[[Clock, bool], Queue]
    is_alone: bool

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.model = ModelQueue()
        self.claims: list[Claim] = []
        self.queue = self.open_queue(self.clock, True)

    def teardown(self) -> None:
        self.queue.close()

    @initialize()
    def begin_with_some_mail(self) -> None:
        self.accept(["a@example.test", "b@example.test"], "one", b"first")
        self.accept(["c@other.test"], "one", b"second")
        self.accept(["c@other.test", "b@example.test", "a@example.test"], "one", b"third")

    @rule(forward_paths=paths, route=routes, content=st.binary(max_size=40))
    def accept(self, forward_paths: list[str], route: str, content: bytes) -> None:
        (queue_id,) = self.queue.accept([envelope(*forward_paths, route=route)], BytesContent(content)).result()
        assert queue_id not in self.model.contents
        self.model.accept(queue_id, forward_paths, route, content, self.clock())

    @rule(span=minutes)
    def time_passes(self, span: int) -> None:
        self.clock.advance(minutes=span)

    @rule(route=routes, limit=st.integers(1, 4))
    def claim(self, route: str, limit: int) -> None:
        expected = self.model.claim(route, limit, self.clock())
        claims = self.queue.claim(route, "worker", limit=limit, lease=LEASE).result()

        got = [(claim.message.id, each.position) for claim in claims for each in claim.message.recipients]
        assert got == expected
        assert not set(got) & self._leased_now(), "a recipient is in two leases"
        self.model.lease(claims)
        self.claims += claims

    @rule(data=st.data(), limit=st.integers(1, 4))
    def work(self, data: st.DataObject, limit: int) -> None:
        """What a drain does all day: claim, try, settle."""
        before = len(self.claims)
        self.claim("one", limit)
        for claim in self.claims[before:]:
            settlement = Settlement(claim, data.draw(self._outcomes(claim)))
            assert self.queue.settle([settlement]).result() == self.model.settle(settlement) == []

    def _leased_now(self) -> set[tuple[str, int]]:
        """By what was handed out and not ended, not by what the queue says."""
        now = self.clock()
        return {row.key for claim in self.claims for row in self.model.owned(claim) if not row.is_free(now)}

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        claims = data.draw(st.lists(st.sampled_from(self.claims), min_size=1, max_size=3))
        settlements = [Settlement(claim, data.draw(self._outcomes(claim))) for claim in claims]

        refused = self.queue.settle(settlements).result()

        assert refused == [key for settlement in settlements for key in self.model.settle(settlement)]

    def _outcomes(self, claim: Claim) -> st.SearchStrategy[dict[int, Outcome]]:
        positions = [each.position for each in claim.message.recipients]
        later = st.builds(lambda span: self.clock() + timedelta(minutes=span), minutes)
        reply = st.sampled_from(["250 ok", "451 later", "550 no"])
        deferred = st.builds(
            Outcome,
            st.just(RecipientState.PENDING),
            reply,
            not_before=later,
            ambiguous=st.booleans(),
            counts=st.booleans(),
        )
        others = [state for state in RecipientState if state is not RecipientState.PENDING]
        kept = st.builds(Outcome, st.just(RecipientState.DELIVERED), reply, keep_until=later)
        outcome = st.one_of(deferred, st.builds(Outcome, st.sampled_from(others), reply), kept)
        return st.dictionaries(st.sampled_from(positions), outcome, min_size=1)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        self.queue.give_back([claim]).result()
        self.model.give_back(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), span=minutes)
    def extend(self, data: st.DataObject, span: int) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        lease = timedelta(minutes=span)
        assert self.queue.extend(claim, lease).result() == self.model.extend(claim, self.clock() + lease)

    @rule(route=routes)
    def ask_what_is_next(self, route: str) -> None:
        assert self.queue.next_due(route).result() == self.model.next_due(route, self.clock())

    @rule(route=routes)
    def flush(self, route: str) -> None:
        assert self.queue.flush(route).result() == self.model.flush(route, self.clock())

    @rule(what=st.sampled_from(list(EDITS)), data=st.data())
    def edit(self, what: str, data: st.DataObject) -> None:
        wanted, means = data.draw(self._filters())
        done = getattr(self.queue, what)(wanted, "op", "why").result()
        changed, busy = self.model.edit(what, means, self.clock())
        assert (list(done.changed), list(done.busy)) == (changed, busy)

    def _filters(self) -> st.SearchStrategy[tuple[Filter, Callable[[Row], bool]]]:
        """A filter and what it means."""
        ids = st.sampled_from(sorted(self.model.contents))
        return st.one_of(
            st.just((Filter(states=frozenset(RecipientState)), lambda row: True)),
            st.just((Filter(), lambda row: row.state in LIVE_STATES)),
            routes.map(lambda route: (Filter(route=route), lambda row: _lives(row) and row.route == route)),
            ids.map(lambda queue_id: (Filter(ids=(queue_id,)), lambda row: _lives(row) and row.key[0] == queue_id)),
            st.just((Filter(domain="other.test"), lambda row: _lives(row) and row.path.endswith("@other.test"))),
        )

    @rule(route=routes, age=minutes, state=st.sampled_from([RecipientState.EXPIRED, RecipientState.HELD]))
    def expire(self, route: str, age: int, state: RecipientState) -> None:
        before = self.clock() - timedelta(minutes=age)
        expected = self.model.expire(route, before, state, "too old", self.clock())
        assert self.queue.expire(route, before, state, "too old").result() == expected

    @rule()
    def keep_house(self) -> None:
        assert self.queue.housekeep().result() == self.model.housekeep(self.clock())

    @rule(really=rarely)
    def restart(self, really: bool) -> None:
        """Whoever held a lease is gone; a claim it had may still come in late, from another node."""
        if not really:
            return
        # Across a restart ids of one millisecond would sort by chance, and no replay would be the same.
        self.clock.advance(milliseconds=1)
        self.queue.close()
        self.queue = self.open_queue(self.clock, False)
        if self.is_alone:
            self.model.end_all_leases()

    @invariant()
    def recipients_are_equal(self) -> None:
        found = {
            (message.id, each.position): (
                each.forward_path,
                each.state,
                each.attempts,
                each.not_before,
                each.last_reply,
                each.lease_until,
            )
            for message in self.queue.list(Filter(states=frozenset(RecipientState))).result()
            for each in message.recipients
        }
        assert found == {
            key: (row.path, row.state, row.attempts, row.not_before, row.last_reply, row.until)
            for key, row in self.model.rows.items()
        }

    @invariant()
    def counts_are_equal(self) -> None:
        groups: dict[tuple[str, RecipientState], list[Row]] = {}
        for row in self.model.live():
            groups.setdefault((row.route, row.state), []).append(row)
        expected = {
            RouteCount(*group, len({row.key[0] for row in rows}), len(rows), self.model.oldest(rows))
            for group, rows in groups.items()
        }
        assert set(self.queue.count().result()) == expected

    @invariant()
    def content_is_there_while_a_recipient_lives_and_no_longer(self) -> None:
        live = {row.key[0] for row in self.model.live()} | set(self.model.kept)
        found = self.queue.contents(sorted(live)).result()
        assert {queue_id: b"".join(each.chunks()) for queue_id, each in found.items()} == {
            queue_id: self.model.contents[queue_id] for queue_id in live
        }
        stored = self._all("SELECT message_id FROM chunk")
        assert {row[0] for row in stored} == {queue_id for queue_id in live if self.model.contents[queue_id]}

    @invariant()
    def every_change_is_on_record(self) -> None:
        story: dict[tuple[str, int], list[str]] = {}
        for row in self._all("SELECT message_id, position, event FROM ledger ORDER BY id"):
            story.setdefault((row[0], row[1]), []).append(row[2])
        assert story == {key: row.story for key, row in self.model.rows.items()}

    def _all(self, statement: str) -> list[Any]:
        return list(self.queue.read(lambda connection: connection.execute(text(statement)).all()).result())


def _lives(row: Row) -> bool:
    return row.state in LIVE_STATES


def run_machine(open_queue: Callable[[Clock, bool], Queue], *, is_alone: bool, examples: int, steps: int) -> None:
    """`open_queue` is told the clock and whether to begin with an empty queue."""
    given = {"open_queue": staticmethod(open_queue), "is_alone": is_alone}
    machine = type("QueueMachine", (QueueMachine,), given)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_queue_on_sqlite_is_equal_to_its_model(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"

    def open_queue(clock: Clock, from_empty: bool) -> Queue:
        if from_empty:
            path.unlink(missing_ok=True)
            lay(path)
        return Queue.open(f"sqlite:///{path}", node="mx2", clock=clock, exclusive=True)

    run_machine(open_queue, is_alone=True, examples=EXAMPLES, steps=50)


def test_a_queue_on_postgresql_is_equal_to_its_model(shared_queue_database: SharedQueueDatabase) -> None:
    def open_queue(clock: Clock, from_empty: bool) -> Queue:
        if from_empty:
            shared_queue_database.empty()
        return Queue.open(shared_queue_database.url, node="mx2", clock=clock, exclusive=True)

    run_machine(open_queue, is_alone=False, examples=EXAMPLES // 2, steps=20)
