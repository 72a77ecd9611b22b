"""Mail in: an answer means that it is committed, wholly, under an id that sorts by arrival."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from mxqueue import BytesContent, Envelope, Filter, Outcome, Queue, QueueError, RecipientState, Settlement
from tests.fakes.clock import START, Clock
from tests.fakes.mail import LETTER, accept, content, envelope, events, message


def listed(queue: Queue) -> list[str]:
    return [each.id for each in queue.list().result()]


def test_what_is_accepted_comes_back_as_it_was_given(queue: Queue) -> None:
    given = Envelope(
        "sender@sender.test",
        ("One@example.test", "two@example.test"),
        "main",
        client_address="192.0.2.7",
        helo="mail.sender.test",
        trace=b"Received: from mail.sender.test\r\n",
        body="8BITMIME",
        smtputf8=True,
    )
    (queue_id,) = queue.accept([given], BytesContent(LETTER)).result()

    (found,) = queue.list().result()

    assert (found.id, found.arrived_at, found.node, found.size) == (queue_id, START, "mx2", len(LETTER))
    assert (found.reverse_path, found.route, found.client_address) == (given.reverse_path, "main", "192.0.2.7")
    assert (found.helo, found.trace, found.body, found.smtputf8) == (given.helo, given.trace, "8BITMIME", True)
    assert [each.forward_path for each in found.recipients] == list(given.forward_paths)
    assert {(each.state, each.attempts, each.not_before, each.last_reply) for each in found.recipients} == {
        (RecipientState.PENDING, 0, START, "")
    }


def test_the_null_reverse_path_stays_empty(queue: Queue) -> None:
    assert message(queue, accept(queue, reverse_path="")).reverse_path == ""


def test_several_envelopes_share_one_content(queue: Queue) -> None:
    found = queue.accept([envelope(route="one"), envelope(route="two")], BytesContent(LETTER)).result()

    assert [message(queue, each).route for each in found] == ["one", "two"]
    assert [content(queue, each) for each in found] == [LETTER, LETTER]


def test_several_envelopes_are_accepted_all_or_none(queue: Queue) -> None:
    taken = accept(queue)

    with pytest.raises(QueueError):
        queue.accept([envelope(route="one"), envelope(route="two", id=taken)], BytesContent(LETTER)).result()

    assert listed(queue) == [taken]


def test_an_envelope_keeps_the_id_that_was_asked_for_beforehand(queue: Queue) -> None:
    wanted = queue.new_id()

    assert accept(queue, id=wanted) == wanted


def test_ids_sort_in_the_order_of_arrival(queue: Queue, clock: Clock) -> None:
    accepted = []
    for _ in range(20):
        accepted.append(accept(queue))
        accepted.append(accept(queue))
        clock.advance(milliseconds=1)

    assert accepted == sorted(set(accepted))


def test_ids_follow_the_queues_own_clock(queue: Queue, clock: Clock) -> None:
    late = accept(queue)
    clock.advance(days=-1)

    assert accept(queue) < late


def test_an_acceptance_leaves_a_ledger_row_for_each_recipient(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test", client_address="192.0.2.7")

    rows = queue.show(queue_id).result()[1]

    assert [(row.event, row.position, row.forward_path, row.at, row.node) for row in rows] == [
        ("accepted", 0, "one@example.test", START, "mx2"),
        ("accepted", 1, "two@example.test", START, "mx2"),
    ]
    assert {row.detail for row in rows} == {"from 192.0.2.7"}


def test_an_acceptance_is_there_for_another_process_once_it_is_answered(
    queue: Queue, open_queue: Callable[..., Queue]
) -> None:
    queue_id = accept(queue)

    assert listed(open_queue()) == [queue_id]


def test_acceptances_of_many_threads_are_each_there_once(queue: Queue) -> None:
    accepted: list[tuple[str, bytes]] = []

    def deliver(sender: int) -> None:
        for number in range(20):
            octets = f"letter {sender}.{number}".encode()
            accepted.append((accept(queue, content=octets), octets))

    threads = [threading.Thread(target=deliver, args=(sender,)) for sender in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(queue_id for queue_id, _ in accepted) == listed(queue)
    assert {content(queue, queue_id) == octets for queue_id, octets in accepted} == {True}


class Blocked:
    """Holds the writer's thread until it is left, so that what is submitted meanwhile becomes one batch."""

    def __init__(self, queue: Queue) -> None:
        self._entered, self._go_on = threading.Event(), threading.Event()
        self._done = queue.writer.submit(lambda connection: self._wait())

    def _wait(self) -> None:
        self._entered.set()
        self._go_on.wait()

    def __enter__(self) -> None:
        self._entered.wait()

    def __exit__(self, *failure: object) -> None:
        self._go_on.set()
        self._done.result()


def test_what_was_cancelled_before_its_turn_is_dropped_wholly(queue: Queue) -> None:
    with Blocked(queue):
        dropped = queue.accept([envelope("gone@example.test")], BytesContent(LETTER))
        kept = queue.accept([envelope("kept@example.test")], BytesContent(LETTER))
        assert dropped.cancel()

    expected = list(kept.result())
    assert listed(queue) == expected
    rows = queue.read(lambda connection: connection.scalars(text("SELECT forward_path FROM ledger")).all()).result()
    assert rows == ["kept@example.test"]


def test_a_message_that_the_next_hop_may_have_is_queued_once_and_the_ledger_says_so(queue: Queue) -> None:
    doubt = "no reply to the end of data: timeout"
    queue_id = accept(queue, "one@example.test", "two@example.test", ambiguous=doubt)

    stored, ledger = queue.show(queue_id).result()
    assert [(row.position, row.event, row.detail) for row in ledger if row.event != "accepted"] == [
        (0, "ambiguous", doubt),
        (1, "ambiguous", doubt),
    ]
    assert events(queue, queue_id) == ["accepted", "ambiguous"]
    assert {(each.state, each.attempts, each.last_reply) for each in stored.recipients} == {
        (RecipientState.PENDING, 1, doubt)
    }
    (claim,) = queue.claim("main", "worker").result()
    assert claim.message.id == queue_id


def test_doubt_about_one_message_of_a_batch_is_no_doubt_about_another(queue: Queue) -> None:
    with Blocked(queue):
        sure = queue.accept([envelope()], BytesContent(LETTER))
        unsure = queue.accept([envelope(ambiguous="the connection was lost")], BytesContent(LETTER))

    assert events(queue, sure.result()[0]) == ["accepted"]
    assert events(queue, unsure.result()[0]) == ["accepted", "ambiguous"]


class Unreadable:
    """Content that breaks off, as a spool on a failing disk does."""

    size = 10
    sha256 = bytes(32)

    def chunks(self) -> Iterator[bytes]:
        yield b"12345"
        raise OSError("the spool cannot be read")


BAD = {
    "an id that is taken": lambda taken: (envelope(id=taken), BytesContent(LETTER)),
    "an address that no text column can hold": lambda taken: (envelope("\udc80@example.test"), BytesContent(LETTER)),
    "no recipient": lambda taken: (Envelope("a@sender.test", (), "main"), BytesContent(LETTER)),
    "content that cannot be read": lambda taken: (envelope(), Unreadable()),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_message_in_a_batch_fails_alone(queue: Queue, what: str) -> None:
    taken = accept(queue)
    bad_envelope, bad_content = BAD[what](taken)
    with Blocked(queue):
        before = [queue.accept([envelope()], BytesContent(LETTER)) for _ in range(3)]
        bad = queue.accept([bad_envelope], bad_content)
        behind = [queue.accept([envelope()], BytesContent(LETTER)) for _ in range(3)]

    with pytest.raises(QueueError):
        bad.result()

    good = [each.result()[0] for each in before + behind]
    assert listed(queue) == [taken, *good]
    assert queue.trouble is None


@pytest.mark.parametrize("what", BAD)
def test_a_bad_message_fails_by_itself_too(queue: Queue, what: str) -> None:
    taken = accept(queue)
    bad_envelope, bad_content = BAD[what](taken)

    with pytest.raises(QueueError):
        queue.accept([bad_envelope], bad_content).result()

    assert listed(queue) == [taken]
    assert events(queue, taken) == ["accepted"]


def test_an_accept_of_no_envelope_is_refused(queue: Queue) -> None:
    with pytest.raises(QueueError, match="recipient"):
        queue.accept([], BytesContent(LETTER)).result()


def test_a_bad_settlement_does_not_take_mail_of_its_batch_with_it(queue: Queue) -> None:
    accept(queue)
    (claim,) = queue.claim("main", "worker").result()
    with Blocked(queue):
        good = queue.accept([envelope()], BytesContent(LETTER))
        bad = queue.settle([Settlement(claim, {7: Outcome(RecipientState.DELIVERED, "250 ok")})])

    with pytest.raises(QueueError):
        bad.result()

    (queue_id,) = good.result()
    assert queue_id in listed(queue)


def test_a_closed_queue_refuses_rather_than_hangs(queue: Queue) -> None:
    queue.close()

    with pytest.raises(QueueError, match="closed"):
        queue.accept([envelope()], BytesContent(LETTER)).result(timeout=10)


def test_closing_finishes_what_was_submitted(queue: Queue, open_queue: Callable[..., Queue]) -> None:
    waiting = [queue.accept([envelope()], BytesContent(LETTER)) for _ in range(100)]
    queue.close()

    assert listed(open_queue(exclusive=True)) == sorted(each.result(timeout=0)[0] for each in waiting)


def test_every_future_is_answered_when_others_submit_while_it_closes(queue: Queue) -> None:
    answered = []

    def submit() -> None:
        for _ in range(200):
            future = queue.accept([envelope()], BytesContent(LETTER))
            answered.append(future.exception(timeout=30))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    queue.close()
    for thread in threads:
        thread.join()

    assert len(answered) == 800
    assert queue.list(Filter()).exception(timeout=10) is not None


def test_who_wants_no_future_is_called_back_once_it_is_committed(queue: Queue) -> None:
    heard: list[tuple[BaseException | None, list[str]]] = []
    done = threading.Event()

    def then(error: BaseException | None) -> None:
        heard.append((error, listed(queue)))
        done.set()

    given = envelope()._replace(id=queue.new_id())
    queue.accept_then([given], BytesContent(LETTER), then)

    assert done.wait(30)
    assert heard == [(None, [given.id])]


def test_who_wants_no_future_is_called_back_with_what_went_wrong(queue: Queue) -> None:
    heard: list[BaseException | None] = []
    given = envelope()._replace(id=queue.new_id(), forward_paths=())

    queue.accept_then([given], BytesContent(LETTER), heard.append)
    queue.ping().result()

    assert [type(error) for error in heard] == [QueueError]
