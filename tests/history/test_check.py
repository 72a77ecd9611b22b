"""The checker finds each violation, and nothing in a history that keeps its promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.history.check import violations
from tests.history.record import Copy, Cut, Entry, History, Offer, Opening, Try

ANN, BOB = "ann@example.test", "bob@example.test"


def sent(number: int = 1, attempt: int = 1, *paths: str, sender: int = 1, **known: object) -> Try:
    """Answered with 250 unless it is said otherwise."""
    values: dict[str, object] = {
        "dotted_at": 1.0,
        "reply": "250 2.0.0 Ok",
        "queue_id": f"id-{sender}-{number}",
    }
    return Try(sender, number, attempt, paths or (ANN,), f"digest-{number}", **(values | known))  # type: ignore[arg-type]


def arrived(of: Try, at: float, path: str = ANN, **known: object) -> Copy:
    values: dict[str, object] = {"connection": 1, "digest": of.digest, "queue_id": of.queue_id} | known
    return Copy(at=at, reverse_path=of.reverse_path, forward_path=path, **values)  # type: ignore[arg-type]


def entry(of: Try, at: float, event: str, path: str = ANN) -> Entry:
    return Entry(at, of.queue_id, path, event)


def kinds(history: History) -> list[str]:
    return [each.kind for each in violations(history)]


M = sent()
TWO = sent(1, 1, ANN, BOB)
UNANSWERED = sent(reply="", queue_id="")


def test_what_arrived_once_is_right() -> None:
    assert kinds(History([M], [arrived(M, 2)], ledger=[entry(M, 2.1, "delivered")])) == []


def test_what_waits_in_the_queue_is_not_lost() -> None:
    assert kinds(History([M], waiting=frozenset({("id-1-1", ANN)}))) == []


def test_what_was_not_answered_may_arrive_or_not() -> None:
    assert kinds(History([UNANSWERED])) == []
    assert kinds(History([UNANSWERED], [arrived(UNANSWERED, 2, queue_id="id")])) == []


def test_a_message_that_was_answered_and_is_nowhere_is_lost() -> None:
    assert kinds(History([M])) == ["lost"]


def test_a_message_is_lost_that_is_on_record_as_delivered_and_did_not_arrive() -> None:
    assert kinds(History([M], ledger=[entry(M, 2, "delivered")])) == ["lost"]


def test_each_recipient_counts_by_itself() -> None:
    assert kinds(History([TWO], [arrived(TWO, 2)])) == ["lost"]
    assert kinds(History([TWO], [arrived(TWO, 2), arrived(TWO, 2, BOB)])) == []
    assert kinds(History([TWO], [arrived(TWO, 2)], waiting=frozenset({("id-1-1", BOB)}))) == []


def test_another_try_does_not_make_up_for_a_lost_one() -> None:
    again = sent(1, 2, queue_id="id-again")
    assert kinds(History([M, again], [arrived(again, 2)])) == ["lost"]


def test_what_the_primary_itself_answered_must_have_arrived() -> None:
    handed_on = sent(queue_id="")
    assert kinds(History([handed_on])) == ["lost"]
    assert kinds(History([handed_on], [arrived(handed_on, 2, queue_id="id")])) == []


# Invented, mangled ---------------------------------------------------------------------------------------------------


def test_what_nobody_sent_is_invented() -> None:
    assert kinds(History([], [arrived(M, 2)])) == ["invented"]


def test_a_recipient_whom_nobody_named_is_invented() -> None:
    assert kinds(History([M], [arrived(M, 2), arrived(M, 2, BOB)])) == ["invented"]


def test_what_never_left_its_sender_whole_is_invented() -> None:
    cut_off = sent(dotted_at=None, reply="", queue_id="")
    assert kinds(History([cut_off], [arrived(cut_off, 2, queue_id="id")])) == ["invented"]


@pytest.mark.parametrize("reply", ["451 4.3.0 Try again", "552 5.3.4 Too large", "421 4.3.2 Bye"])
def test_what_was_refused_and_arrives_is_invented(reply: str) -> None:
    refused = sent(reply=reply, queue_id="")
    assert kinds(History([refused], [arrived(refused, 2, queue_id="id")])) == ["invented"]


def test_other_content_is_mangled() -> None:
    assert kinds(History([M], [arrived(M, 2, digest="another")])) == ["mangled"]


# Doubled -------------------------------------------------------------------------------------------------------------

TWICE = [arrived(M, 2), arrived(M, 4, connection=2)]
OPENINGS = [Opening(1.5, 1), Opening(3.5, 2), Opening(5.5, 3)]
LATER = [arrived(sent(2), 3)]


def twice(**known: object) -> list[str]:
    values: dict[str, object] = {"copies": TWICE, "openings": OPENINGS, "ledger": [entry(M, 4.1, "delivered")]}
    return kinds(History([M, sent(2, reply="", queue_id="id-1-2")], **(values | known)))  # type: ignore[arg-type]


def test_a_second_copy_without_a_reason_is_doubled() -> None:
    assert twice() == ["doubled"]


def test_a_second_copy_is_excused_where_the_primary_never_wrote_its_reply_and_the_ledger_says_so() -> None:
    unsaid = [replace(TWICE[0], said=False), TWICE[1]]
    record = [entry(M, 2.5, "ambiguous"), entry(M, 4.1, "delivered")]
    assert twice(copies=unsaid, ledger=record) == []
    assert twice(copies=unsaid) == ["unexplained"]


def test_a_second_copy_is_excused_where_the_connection_was_cut_behind_the_reply() -> None:
    record = [entry(M, 2.5, "ambiguous"), entry(M, 4.1, "delivered")]
    assert twice(cuts=[Cut(2.1, 1)], ledger=record) == []
    assert twice(cuts=[Cut(2.1, 2)], ledger=record) == ["doubled"], "that was another connection"


def test_a_cut_excuses_nothing_whose_reply_was_surely_read() -> None:
    """The content of the next message on the same connection is sent only when the reply before has been read."""
    record = [entry(M, 2.5, "ambiguous"), entry(M, 4.1, "delivered")]
    assert twice(copies=[*TWICE, *LATER], cuts=[Cut(3.1, 1)], ledger=record) == ["doubled"]


def test_a_second_copy_is_excused_by_a_kill_between_the_two() -> None:
    assert twice(kills=[3.0]) == []
    assert twice(kills=[1.0, 5.0]) == ["doubled"], "neither kill was in between"


def test_a_kill_excuses_nothing_that_came_again_in_the_same_life() -> None:
    one_life = [Opening(1.5, 1), Opening(1.6, 2)]
    assert twice(openings=one_life, kills=[3.0]) == ["doubled"]


def test_a_kill_excuses_nothing_that_was_on_record_as_delivered() -> None:
    assert twice(kills=[3.0], ledger=[entry(M, 2.5, "delivered")]) == ["doubled"]


def test_nothing_excuses_a_copy_after_the_record_of_the_delivery() -> None:
    unsaid = [replace(TWICE[0], said=False), TWICE[1]]
    record = [entry(M, 2.5, "ambiguous"), entry(M, 3, "delivered")]
    assert twice(copies=unsaid, ledger=record, kills=[2.1]) == ["doubled"]


def test_each_copy_needs_a_reason_of_its_own() -> None:
    thrice = [*TWICE, arrived(M, 6, connection=3)]
    record = [entry(M, 6.1, "delivered")]
    assert twice(copies=thrice, kills=[3.0], ledger=record) == ["doubled"]
    assert twice(copies=thrice, kills=[3.0, 5.0], ledger=record) == []


def test_one_kill_excuses_no_more_messages_than_may_be_without_a_record() -> None:
    def killed(messages: int) -> list[str]:
        tries = [sent(number) for number in range(messages)]
        copies = [arrived(each, at, connection=on) for at, on in ((2, 1), (4, 2)) for each in tries]
        offers = [Offer(0, each.reverse_path) for each in tries]
        return kinds(History(tries, copies, OPENINGS, offers, kills=[3.0]))

    assert killed(42) == []
    assert killed(43) == ["doubled"]


def test_one_try_under_two_ids_is_doubled() -> None:
    copies = [arrived(UNANSWERED, 2, queue_id="one"), arrived(UNANSWERED, 3, queue_id="two")]
    assert kinds(History([UNANSWERED], copies, OPENINGS)) == ["doubled"]


# Order ---------------------------------------------------------------------------------------------------------------

ROW = [sent(number) for number in range(1, 5)]


def offered(*numbers: int, connections: int = 1, put_off: tuple[int, ...] = ()) -> list[str]:
    """These messages of one sender were offered to the primary in this order."""
    offers = [Offer(float(at), ROW[number - 1].reverse_path) for at, number in enumerate(numbers, 2)]
    copies = [arrived(each, 9) for each in ROW]
    record = [entry(ROW[number - 1], 1, "deferred") for number in put_off]
    return kinds(History(ROW, copies, OPENINGS, offers, ledger=record, connections=connections))


def test_the_order_of_acceptance_is_right() -> None:
    assert offered(1, 2, 3, 4) == []


def test_a_message_that_overtakes_another_is_disordered() -> None:
    assert offered(2, 1, 3, 4) == ["disordered"]
    assert offered(4, 1, 2, 3) == ["disordered"]


def test_what_was_put_off_is_overtaken_rightly() -> None:
    assert offered(2, 3, 4, 1, put_off=(1,)) == []
    assert offered(3, 2, 4, 1, put_off=(1,)) == ["disordered"]


def test_what_is_in_hand_on_another_connection_is_overtaken_rightly() -> None:
    assert offered(3, 1, 2, 4, connections=2) == []
    assert offered(4, 1, 2, 3, connections=2) == ["disordered"]


def test_what_was_offered_again_counts_from_its_first_offer() -> None:
    assert offered(1, 2, 1, 3, 4) == []


def test_an_offer_by_playing_through_counts_for_nothing_once_that_has_failed() -> None:
    first, second = sent(1), sent(2, dotted_at=3.0)
    copies = [arrived(each, 9) for each in (first, second)]
    played, queued = Offer(2.0, second.reverse_path), Offer(6.0, second.reverse_path)
    other = Offer(5.0, first.reverse_path)
    assert kinds(History([first, second], copies, OPENINGS, [played, other, queued])) == []
    early = Offer(4.0, second.reverse_path)
    assert kinds(History([first, second], copies, OPENINGS, [early, other])) == ["disordered"]


def test_senders_are_not_compared_with_each_other() -> None:
    tries = [sent(1, sender=1), sent(2, sender=2)]
    offers = [Offer(1, tries[1].reverse_path), Offer(2, tries[0].reverse_path)]
    assert kinds(History(tries, [arrived(each, 3) for each in tries], OPENINGS, offers)) == []
