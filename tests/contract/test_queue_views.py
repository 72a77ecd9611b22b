"""Looking: what a filter means, pages, counts, and a message's story."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from mxqueue import BytesContent, Filter, NoSuchMessage, Outcome, Queue, RecipientState, RouteCount
from mxqueue.views import PAGE
from tests.fakes.clock import START, Clock
from tests.fakes.mail import DELIVERED, FAILED, HELD, accept, claim_one, deferred, envelope, events, settle

PENDING, HELD_STATE = RecipientState.PENDING, RecipientState.HELD


def listed(queue: Queue, wanted: Filter | None = None, **page: object) -> list[str]:
    return [each.id for each in queue.list(wanted, **page).result()]  # type: ignore[arg-type]


@pytest.fixture
def mail(queue: Queue, clock: Clock) -> dict[str, str]:
    """Five messages a minute apart, each with something of its own."""
    found = {}
    found["held"] = accept(queue, "h@example.test")
    settle(queue, claim_one(queue), HELD)
    clock.advance(minutes=1)
    found["delivered"] = accept(queue, "d@example.test")
    settle(queue, claim_one(queue), DELIVERED)
    clock.advance(minutes=1)
    found["plain"] = accept(queue, "U@Example.Test", reverse_path="Boss@Sender.Test")
    clock.advance(minutes=1)
    found["other"] = accept(queue, "u@sub.example.test", "u_x@other.test", route="other")
    clock.advance(minutes=1)
    found["null"] = accept(queue, "v@example.test", "w@example.test", reverse_path="")
    return found


FILTERS = {
    "all that is live": (Filter(), ["held", "plain", "other", "null"]),
    "ids": (lambda mail: Filter(ids=(mail["null"], mail["plain"], mail["delivered"])), ["plain", "null"]),
    "route": (Filter(route="other"), ["other"]),
    "domain, whatever its case": (Filter(domain="EXAMPLE.test"), ["held", "plain", "null"]),
    "domain, not as a pattern": (Filter(domain="exampl_.test"), []),
    "sender, whatever its case": (Filter(sender="boss@sender.test"), ["plain"]),
    "the null sender": (Filter(sender=""), ["null"]),
    "recipient, whatever its case": (Filter(recipient="u@example.test"), ["plain"]),
    "recipient, not the first": (Filter(recipient="w@example.test"), ["null"]),
    "recipient, not as a pattern": (Filter(recipient="u%@other.test"), []),
    "held": (Filter(states=frozenset({HELD_STATE})), ["held"]),
    "pending": (Filter(states=frozenset({PENDING})), ["plain", "other", "null"]),
    "delivered": (Filter(states=frozenset({RecipientState.DELIVERED})), ["delivered"]),
    "any state": (Filter(states=frozenset(RecipientState)), ["held", "delivered", "plain", "other", "null"]),
    "before": (Filter(arrived_before=START + timedelta(minutes=3)), ["held", "plain"]),
    "after": (Filter(arrived_after=START + timedelta(minutes=2)), ["other", "null"]),
    "between": (
        Filter(arrived_after=START, arrived_before=START + timedelta(minutes=3, microseconds=1)),
        ["plain", "other"],
    ),
    "several fields narrow": (Filter(domain="example.test", route="main", sender=""), ["null"]),
    "held on a route": (Filter(route="main", states=frozenset({HELD_STATE})), ["held"]),
}


def test_a_listing_shows_what_its_filter_means(queue: Queue, mail: dict[str, str]) -> None:
    names = {queue_id: name for name, queue_id in mail.items()}
    found = {}
    for what, (wanted, _) in FILTERS.items():
        found[what] = [names[each] for each in listed(queue, wanted(mail) if callable(wanted) else wanted)]

    assert found == {what: expected for what, (_, expected) in FILTERS.items()}


def test_a_listed_message_shows_all_its_recipients(queue: Queue, mail: dict[str, str]) -> None:
    (found,) = queue.list(Filter(recipient="w@example.test")).result()

    assert [each.forward_path for each in found.recipients] == ["v@example.test", "w@example.test"]


def test_an_empty_queue_lists_nothing(queue: Queue) -> None:
    assert (listed(queue), queue.count().result()) == ([], [])


@pytest.mark.parametrize("states", [RecipientState, [PENDING], [HELD_STATE]], ids=["all", "pending", "held"])
def test_pages_make_up_the_listing(queue: Queue, mail: dict[str, str], states: Iterable[RecipientState]) -> None:
    wanted = Filter(states=frozenset(states))
    for size in (1, 2, 3, 5, 6):
        pages, after = [], None
        while page := listed(queue, wanted, limit=size, after=after):
            assert len(page) <= size
            pages += page
            after = page[-1]

        assert pages == listed(queue, wanted)


def test_a_limit_of_zero_lists_nothing(queue: Queue, mail: dict[str, str]) -> None:
    assert listed(queue, limit=0) == []


def test_a_long_listing_is_whole_and_in_order(queue: Queue) -> None:
    accepted = [queue.accept([envelope()], BytesContent(b"")) for _ in range(PAGE + 1)]

    assert [each.result()[0] for each in accepted] == listed(queue)


def test_which_recipients_match_is_told_by_message(queue: Queue, mail: dict[str, str]) -> None:
    wanted = Filter(domain="example.test", sender="")
    assert queue.matching(wanted, [mail["null"], mail["other"]]).result() == {mail["null"]: frozenset({0, 1})}
    assert queue.matching(Filter(recipient="w@example.test"), [mail["null"]]).result() == {mail["null"]: frozenset({1})}


LARGE = b"Subject: x\r\n\r\n" + 100 * b"0123456789\r\n"


def test_a_filter_by_size_or_by_what_was_said_finds_what_it_means(queue: Queue) -> None:
    small, large = accept(queue, "s@example.test"), accept(queue, "l@example.test", content=LARGE)
    settle(queue, claim_one(queue), HELD)
    settle(queue, claim_one(queue), Outcome(HELD_STATE, "lifetime over: 451 4.7.1 100% busy"))
    found = {
        "larger": (Filter(larger_than=1000), [large]),
        "larger, and not as large as that": (Filter(larger_than=len(LARGE)), []),
        "larger, of somebody's": (Filter(larger_than=1000, sender="boss@sender.test"), []),
        "a word of the last reply, whatever its case": (Filter(reply="SUSPECT"), [small]),
        "text, not as a pattern": (Filter(reply="5%7"), []),
        "text with a percent sign in it": (Filter(reply="100% b"), [large]),
        "a code": (Filter(reply="550"), [small]),
        "a kind of code": (Filter(reply="5xx"), [small]),
        "a code behind words of ours": (Filter(reply="4xx"), [large]),
        "a number that is no reply's code": (Filter(reply="471"), []),
        "an enhanced code": (Filter(reply="4.7.1"), [large]),
    }
    assert {name: listed(queue, wanted) for name, (wanted, _) in found.items()} == {
        name: expected for name, (_, expected) in found.items()
    }


def test_an_edit_by_size_and_by_what_was_said_changes_what_it_means(queue: Queue) -> None:
    small, large = accept(queue, "s@example.test"), accept(queue, "l@example.test", content=LARGE)
    assert queue.hold(Filter(larger_than=1000), "op", "large").result().changed == (large,)
    settle(queue, claim_one(queue), HELD)
    assert queue.release(Filter(reply="550"), "op", "mended").result().changed == (small,)


def test_a_count_is_by_route_and_live_state_with_the_oldest(queue: Queue, mail: dict[str, str]) -> None:
    assert sorted(queue.count().result(), key=lambda each: (each.route, each.state)) == [
        RouteCount("main", HELD_STATE, 1, 1, START),
        RouteCount("main", PENDING, 2, 3, START + timedelta(minutes=2)),
        RouteCount("other", PENDING, 1, 2, START + timedelta(minutes=3)),
    ]


def test_a_message_counts_once_in_each_state_whichever_recipients_are_in_it(queue: Queue, clock: Clock) -> None:
    accept(queue, *(f"u{number}@example.test" for number in range(6)))
    claim = claim_one(queue)
    settle(queue, claim, DELIVERED, 0)
    settle(queue, claim, HELD, 1)
    settle(queue, claim, deferred(START + timedelta(minutes=1)), 2)
    settle(queue, claim, FAILED, 3)
    settle(queue, claim, HELD, 4)

    found = {each.state: (each.messages, each.recipients) for each in queue.count().result()}

    assert found == {HELD_STATE: (1, 2), PENDING: (1, 2)}


def test_what_is_being_delivered_still_counts_as_pending(queue: Queue) -> None:
    accept(queue)
    claim_one(queue)

    assert queue.count().result() == [RouteCount("main", PENDING, 1, 1, START)]


def test_a_story_is_told_in_order(queue: Queue, clock: Clock) -> None:
    queue_id = accept(queue)
    settle(queue, claim_one(queue), deferred(START + timedelta(minutes=1)))
    queue.hold(Filter(), "op", "wait").result()
    queue.release(Filter(), "op", "go").result()
    settle(queue, claim_one(queue), DELIVERED)

    assert events(queue, queue_id) == ["accepted", "deferred", "held", "released", "delivered"]


def test_a_message_that_is_not_there_cannot_be_shown(queue: Queue) -> None:
    with pytest.raises(NoSuchMessage):
        queue.show("01KJMMA2G00000000000000000").result()
