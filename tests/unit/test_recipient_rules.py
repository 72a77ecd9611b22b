"""What is known of a recipient and what it is told: by table, and by property."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.disposition import Disposition, Reply
from fallback_mx.rules.recipients import (
    CLOCK_TOLERANCE,
    DEFAULT_LIFETIMES,
    UNKNOWN,
    Facts,
    Known,
    Lesson,
    Listing,
    Source,
    UnknownRecipients,
    Verdict,
    answer,
    combine,
    newest,
    says_of_mailbox,
    taught,
    why_suspicious,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def listing(age: timedelta = timedelta(), *, listed=False, domain=False, speaks=True) -> Listing:
    return Listing(listed, domain, speaks or listed or domain, NOW - age, DAY)


def lesson(verdict: Verdict, age: timedelta = timedelta(), source: Source = Source.DELIVERY) -> Lesson:
    return Lesson(verdict, source, NOW - age)


# --- which source counts ---------------------------------------------------------------------------------------------

FRESH, STALE = timedelta(hours=23), DAY

# Each row: facts, the verdict, where it is from.
COMBINATIONS = [
    ("nothing", Facts(), Verdict.UNKNOWN, None),
    ("fresh list has it", Facts(listing(FRESH, listed=True)), Verdict.GOOD, Source.LIST),
    ("fresh list has its domain", Facts(listing(FRESH, domain=True)), Verdict.CATCH_ALL, Source.LIST),
    ("fresh list lacks it", Facts(listing(FRESH)), Verdict.BAD, Source.LIST),
    ("fresh list knows no such domain", Facts(listing(FRESH, speaks=False)), Verdict.UNKNOWN, None),
    ("stale list has it", Facts(listing(STALE, listed=True)), Verdict.GOOD, Source.LIST),
    ("stale list has its domain", Facts(listing(STALE, domain=True)), Verdict.CATCH_ALL, Source.LIST),
    ("stale list lacks it", Facts(listing(STALE)), Verdict.UNKNOWN, None),
    ("list from the future lacks it", Facts(listing(-DAY)), Verdict.UNKNOWN, None),
    ("fresh list against a good lesson", Facts(listing(FRESH), (lesson(Verdict.GOOD),)), Verdict.BAD, Source.LIST),
    ("fresh list against a bad lesson", Facts(listing(FRESH, listed=True), (lesson(Verdict.BAD),)),
     Verdict.GOOD, Source.LIST),
    ("stale list, a lesson", Facts(listing(STALE), (lesson(Verdict.BAD),)), Verdict.BAD, Source.DELIVERY),
    ("silent list, a lesson", Facts(listing(speaks=False), (lesson(Verdict.GOOD),)), Verdict.GOOD, Source.DELIVERY),
    ("good lesson", Facts(None, (lesson(Verdict.GOOD, 30 * DAY),)), Verdict.GOOD, Source.DELIVERY),
    ("expired good lesson", Facts(None, (lesson(Verdict.GOOD, 31 * DAY),)), Verdict.UNKNOWN, None),
    ("bad lesson", Facts(None, (lesson(Verdict.BAD, 2.9 * DAY),)), Verdict.BAD, Source.DELIVERY),
    ("expired bad lesson", Facts(None, (lesson(Verdict.BAD, 3 * DAY),)), Verdict.UNKNOWN, None),
    ("the newer lesson counts", Facts(None, (lesson(Verdict.GOOD, 2 * DAY),
                                            lesson(Verdict.BAD, DAY, Source.CALL_AHEAD))),
     Verdict.BAD, Source.CALL_AHEAD),
    ("an expired newer one does not", Facts(None, (lesson(Verdict.GOOD, 9 * DAY),
                                                  lesson(Verdict.BAD, 4 * DAY, Source.CALL_AHEAD))),
     Verdict.GOOD, Source.DELIVERY),
    ("a lesson from the future does not count", Facts(None, (lesson(Verdict.BAD, -DAY),)), Verdict.UNKNOWN, None),
    ("catch-all domain", Facts(None, (), (lesson(Verdict.CATCH_ALL, DAY, Source.CALL_AHEAD),)),
     Verdict.CATCH_ALL, Source.CALL_AHEAD),
    ("a domain that refuses made-up addresses", Facts(None, (), (lesson(Verdict.BAD, DAY, Source.CALL_AHEAD),)),
     Verdict.UNKNOWN, None),
    ("a lesson of its own in a catch-all domain",
     Facts(None, (lesson(Verdict.BAD),), (lesson(Verdict.CATCH_ALL, DAY, Source.CALL_AHEAD),)),
     Verdict.BAD, Source.DELIVERY),
    ("postmaster, whatever the list says", Facts(listing(FRESH), (lesson(Verdict.BAD),), (), True),
     Verdict.GOOD, Source.RULE),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "verdict", "source"), [row[1:] for row in COMBINATIONS],
                         ids=[row[0] for row in COMBINATIONS])  # fmt: skip
def test_the_source_that_counts_most_gives_the_verdict(facts: Facts, verdict: Verdict, source: Source | None) -> None:
    known = combine(facts, NOW)
    assert (known.verdict, known.source) == (verdict, source)


@pytest.mark.parametrize(
    ("verdict", "age", "wants"),
    [
        (Verdict.GOOD, 7.7 * DAY, False),
        (Verdict.GOOD, 7.75 * DAY, True),
        (Verdict.BAD, 0.74 * DAY, False),
        (Verdict.BAD, 0.75 * DAY, True),
    ],
)
def test_what_is_known_wants_asking_from_a_quarter_of_its_lifetime_on(
    verdict: Verdict, age: timedelta, wants: bool
) -> None:
    assert combine(Facts(None, (lesson(verdict, age),)), NOW).wants_asking is wants


def test_what_is_unknown_wants_asking_and_what_a_list_says_does_not() -> None:
    assert UNKNOWN.wants_asking
    assert not combine(Facts(listing(STALE, listed=True)), NOW).wants_asking


def test_the_age_is_that_of_the_source() -> None:
    assert combine(Facts(listing(FRESH, listed=True)), NOW).age == FRESH
    assert combine(Facts(None, (lesson(Verdict.GOOD, DAY),)), NOW) == Known(Verdict.GOOD, Source.DELIVERY, DAY)


lessons = st.builds(
    lesson,
    st.sampled_from(Verdict),
    st.timedeltas(timedelta(days=-40), timedelta(days=40)),
    st.sampled_from([Source.DELIVERY, Source.CALL_AHEAD]),
)
listings = st.none() | st.builds(
    listing,
    st.timedeltas(timedelta(days=-3), timedelta(days=3)),
    listed=st.booleans(),
    domain=st.booleans(),
    speaks=st.booleans(),
)
facts_of_any_kind = st.builds(
    Facts,
    listings,
    st.lists(lessons, max_size=3).map(tuple),
    st.lists(lessons, max_size=2).map(tuple),
    st.booleans(),
)


@given(facts_of_any_kind)
def test_bad_wants_a_fresh_list_or_a_lesson_that_still_counts(facts: Facts) -> None:
    known = combine(facts, NOW)
    if known.verdict is not Verdict.BAD:
        return
    assert not facts.is_postmaster
    if known.source is Source.LIST:
        assert facts.listing is not None and not facts.listing.is_listed and facts.listing.speaks_for_domain
        assert -CLOCK_TOLERANCE <= NOW - facts.listing.confirmed_at < facts.listing.stale_after
    else:
        assert any(
            each.verdict is Verdict.BAD and NOW - each.learned_at < DEFAULT_LIFETIMES.negative for each in facts.lessons
        )


@given(facts_of_any_kind)
def test_an_address_that_is_listed_is_taken_whatever_else_is_known(facts: Facts) -> None:
    if facts.listing is not None and facts.listing.is_listed:
        assert combine(facts, NOW).verdict is Verdict.GOOD


@given(facts_of_any_kind)
def test_no_age_is_negative(facts: Facts) -> None:
    age = combine(facts, NOW).age
    assert age is None or age >= timedelta()


@given(st.lists(lessons, max_size=4), st.randoms())
def test_the_order_in_which_lessons_are_read_makes_no_difference_to_when(given_lessons: list[Lesson], chance) -> None:
    shuffled = list(given_lessons)
    chance.shuffle(shuffled)
    first, second = newest(given_lessons, NOW), newest(shuffled, NOW)
    assert (first and first.learned_at) == (second and second.learned_at)


# --- what the recipient is told --------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", UnknownRecipients)
def test_what_is_taken_gets_no_refusal_and_what_is_bad_gets_550(unknown: UnknownRecipients) -> None:
    assert answer(Verdict.GOOD, unknown) is None
    assert answer(Verdict.CATCH_ALL, unknown) is None
    refusal = answer(Verdict.BAD, unknown)
    assert refusal is not None and str(refusal).startswith("550 5.1.1 ")


@pytest.mark.parametrize(
    ("unknown", "begins"),
    [
        (UnknownRecipients.ACCEPT, None),
        (UnknownRecipients.DEFER, "451 4.1.1 "),
        (UnknownRecipients.REFUSE, "550 5.1.1 "),
    ],
)
def test_what_is_unknown_gets_what_the_configuration_says(unknown: UnknownRecipients, begins: str | None) -> None:
    refusal = answer(Verdict.UNKNOWN, unknown)
    assert refusal is None if begins is None else str(refusal).startswith(begins)


# --- what replies teach ----------------------------------------------------------------------------------------------

PLAINLY_BAD = [
    "550 5.1.1 <bob@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
    "550 5.1.1 The email account that you tried to reach does not exist.",
    "550-5.1.1 no such user",
    "553 5.1.1 sorry",
    "550 5.1.6 mailbox has moved",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
    "550 No such user here",
    "550 <spam-trap@policy.example.org>: Unknown user",
    "550 Mailbox not found",
    "550 Unknown recipient address.",
]
NOT_BAD = [
    "550 5.7.1 Service unavailable, client host blocked using Spamhaus",
    "550 5.7.1 no such user",
    "550 5.1.1 Access denied, sender's reputation is too low",
    "550 5.1.1 too many unknown recipients from your address",
    "550 5.1.8 Sender domain does not exist",
    "550 5.2.2 Mailbox full",
    "550 Sender verify failed: no such user",
    "550 Relay denied",
    "550 no",
    "550",
    "554 No such user",
    "554 5.4.1 Recipient address rejected: Access denied",
    "552 5.2.2 over quota",
    "450 4.1.1 user unknown",
    "451 5.1.1 user unknown",
    "550 4.1.1 user unknown",
    "421 4.3.2 shutting down",
]


def reply(text: str) -> Reply:
    code, _, rest = text.replace("-", " ", 1).partition(" ") if text[3:4] == "-" else text.partition(" ")
    return Reply(int(code), rest)


@pytest.mark.parametrize("text", PLAINLY_BAD)
def test_a_refusal_that_means_this_mailbox_is_bad(text: str) -> None:
    assert says_of_mailbox(reply(text)) is Verdict.BAD


@pytest.mark.parametrize("text", NOT_BAD)
def test_a_refusal_that_may_mean_something_else_is_no_verdict(text: str) -> None:
    assert says_of_mailbox(reply(text)) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("250 2.1.5 Ok", Verdict.GOOD), ("251 will forward", Verdict.GOOD), ("252 cannot verify", Verdict.UNKNOWN)],
)
def test_a_welcome_is_good_unless_the_server_says_that_it_cannot_tell(text: str, verdict: Verdict) -> None:
    assert says_of_mailbox(reply(text)) is verdict


NO_SUCH = reply("550 5.1.1 no such user")


@pytest.mark.parametrize(
    ("said", "disposition", "verdict"),
    [
        (reply("250 2.0.0 queued"), Disposition.DELIVERED, Verdict.GOOD),
        (reply("252 perhaps"), Disposition.DELIVERED, Verdict.GOOD),
        (NO_SUCH, Disposition.HELD, Verdict.BAD),
        (NO_SUCH, Disposition.FAILED, Verdict.BAD),
        (NO_SUCH, Disposition.SUSPECT, Verdict.UNKNOWN),
        (reply("450 4.1.1 later"), Disposition.DEFERRED, Verdict.UNKNOWN),
        (reply("250 ok"), Disposition.HELD, Verdict.UNKNOWN),
    ],
)
def test_a_delivery_teaches_what_is_final_and_nothing_else(
    said: Reply, disposition: Disposition, verdict: Verdict
) -> None:
    assert taught(said, disposition) is verdict


@given(st.integers(200, 599), st.text(max_size=60))
def test_no_reply_breaks_the_reading_of_replies_and_only_5xx_can_be_bad(code: int, text: str) -> None:
    verdict = says_of_mailbox(Reply(code, text))
    assert verdict is not Verdict.BAD or 500 <= code < 600


# --- lists that are not believed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "bad_lines", "suspicious"),
    [
        (0, 0, 0, True),
        (100, 0, 0, True),
        (0, 1, 0, False),
        (1, 1, 1, False),
        (1, 1, 2, True),
        (100, 10, 0, False),
        (100, 9, 0, True),
        (1_000_000, 100_000, 0, False),
        (1_000_000, 99_999, 0, True),
        (10, 1000, 0, False),
    ],
)
def test_a_list_that_would_undo_the_old_one_is_suspicious(
    before: int, after: int, bad_lines: int, suspicious: bool
) -> None:
    assert (why_suspicious(before, after, bad_lines) is not None) is suspicious
