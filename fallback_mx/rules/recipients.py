"""What is known of a recipient, and what it is told in an outage.

Four verdicts, each with its source and its age. A wrong "taken" can still be put right, a wrong 550 is mail lost for
good: so whatever is not sure is *unknown*, and only a fresh list, or a refusal that plainly means this mailbox, makes
*bad*. A list speaks for the domains that it names, and for no other. (RFC 5321, sections 3.5.3 and 4.5.1; RFC 3463.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fallback_mx.rules.disposition import Disposition, Reply


class Verdict(StrEnum):
    GOOD = "good"
    BAD = "bad"
    CATCH_ALL = "catch-all"  # not known by itself; its domain takes every address
    UNKNOWN = "unknown"

    @property
    def is_taken(self) -> bool:
        """Whether the primary would take it, as far as is known."""
        return self in (Verdict.GOOD, Verdict.CATCH_ALL)


class Source(StrEnum):
    RULE = "rule"  # postmaster
    LIST = "list"
    DELIVERY = "delivery"
    CALL_AHEAD = "call-ahead"


class UnknownRecipients(StrEnum):
    """What becomes of a recipient that nothing is known of."""

    ACCEPT = "accept"
    DEFER = "defer"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list says of one address, and how old it is.

    `speaks_for_domain`: the list names the address's domain at all. `confirmed_at` is when its source was last read to
    the end, whether or not it had changed.
    """

    is_listed: bool
    is_domain_listed: bool
    speaks_for_domain: bool
    confirmed_at: datetime
    stale_after: timedelta

    @property
    def verdict(self) -> Verdict:
        if self.is_listed:
            return Verdict.GOOD
        if self.is_domain_listed:
            return Verdict.CATCH_ALL
        return Verdict.BAD if self.speaks_for_domain else Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the primary itself has said of an address: to a delivery or when it was called ahead."""

    verdict: Verdict
    source: Source
    learned_at: datetime


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a lesson counts, and from which share of that time on it is looked at again in the background."""

    positive: timedelta = timedelta(days=31)
    negative: timedelta = timedelta(days=3)
    refresh_share: float = 0.25

    def of(self, verdict: Verdict) -> timedelta:
        return self.positive if verdict.is_taken else self.negative


@dataclass(frozen=True, slots=True)
class Known:
    """The verdict on one address. `age` is None where there is none to give. `wants_asking`: the primary should be
    asked while it can be: nothing is known, or what is known grows old. `is_unlisted`: there is a fresh list, and it
    says nothing of this one."""

    verdict: Verdict
    source: Source | None = None
    age: timedelta | None = None
    wants_asking: bool = False
    is_unlisted: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything on record about one address. `lessons` are the address's own, `domain_lessons` those of its domain:
    CATCH_ALL where a made-up address was taken, BAD where it was refused."""

    listing: Listing | None = None
    lessons: tuple[Lesson, ...] = ()
    domain_lessons: tuple[Lesson, ...] = ()
    is_postmaster: bool = False


UNKNOWN = Known(Verdict.UNKNOWN, wants_asking=True)
UNLISTED = Known(Verdict.UNKNOWN, wants_asking=True, is_unlisted=True)
# Clocks of two nodes differ a little. What lies further ahead was written by a clock that was wrong.
CLOCK_TOLERANCE = timedelta(minutes=5)
DEFAULT_LIFETIMES = Lifetimes()


def combine(facts: Facts, now: datetime, lifetimes: Lifetimes = DEFAULT_LIFETIMES) -> Known:
    """The verdict, from the source that counts most: the rule, a fresh list, lessons, what a stale list has."""
    if facts.is_postmaster:
        return Known(Verdict.GOOD, Source.RULE)
    listed = _listed(facts.listing, now)
    if listed is not None:
        return listed
    for lessons in (facts.lessons, facts.domain_lessons):
        lesson = newest(lessons, now, lifetimes)
        if lesson is not None and (lessons is facts.lessons or lesson.verdict is Verdict.CATCH_ALL):
            return _learned(lesson, now, lifetimes)
    listing = facts.listing
    if listing is not None and is_fresh(listing.confirmed_at, listing.stale_after, now):
        return UNLISTED
    return UNKNOWN


def _listed(listing: Listing | None, now: datetime) -> Known | None:
    """What the list says, None where it says nothing, or nothing that still counts."""
    if listing is None or listing.verdict is Verdict.UNKNOWN:
        return None
    if listing.verdict is Verdict.BAD and not is_fresh(listing.confirmed_at, listing.stale_after, now):
        return None
    return Known(listing.verdict, Source.LIST, _age(listing.confirmed_at, now))


def is_fresh(confirmed_at: datetime, stale_after: timedelta, now: datetime) -> bool:
    return -CLOCK_TOLERANCE <= now - confirmed_at < stale_after


def newest(lessons: Iterable[Lesson], now: datetime, lifetimes: Lifetimes = DEFAULT_LIFETIMES) -> Lesson | None:
    """The lesson that was learned last, of those that still count."""
    valid = [
        lesson
        for lesson in lessons
        if lesson.verdict is not Verdict.UNKNOWN
        and -CLOCK_TOLERANCE <= now - lesson.learned_at < lifetimes.of(lesson.verdict)
    ]
    # At the same moment, what a delivery was told: there the primary had a real message before it.
    return max(valid, key=lambda lesson: (lesson.learned_at, lesson.source is Source.DELIVERY), default=None)


def _learned(lesson: Lesson, now: datetime, lifetimes: Lifetimes) -> Known:
    age = _age(lesson.learned_at, now)
    is_old = age >= lifetimes.of(lesson.verdict) * lifetimes.refresh_share
    return Known(lesson.verdict, lesson.source, age, wants_asking=is_old)


def _age(since: datetime, now: datetime) -> timedelta:
    return max(timedelta(), now - since)


# What the recipient is told -------------------------------------------------------------------------------------

_NO_SUCH = Reply(550, "5.1.1 No such recipient here")
NOT_NOW = Reply(451, "4.1.1 This recipient is not known here yet, please try again later")


def answer(verdict: Verdict, unknown: UnknownRecipients) -> Reply | None:
    """The refusal of a recipient while the primary is not up, None where it is taken."""
    if verdict.is_taken:
        return None
    if verdict is Verdict.BAD:
        return _NO_SUCH
    match unknown:
        case UnknownRecipients.ACCEPT:
            return None
        case UnknownRecipients.DEFER:
            return NOT_NOW
        case UnknownRecipients.REFUSE:
            return _NO_SUCH


def is_unsure(known: Known, unknown: UnknownRecipients, *, has_list: bool) -> bool:
    """Whether a recipient would be refused for good for being on no list, while there is no list yet, or one that has
    grown too old to refuse anybody. It is put off instead."""
    is_strict = unknown is UnknownRecipients.REFUSE
    return has_list and is_strict and known.verdict is Verdict.UNKNOWN and not known.is_unlisted


# What replies teach ---------------------------------------------------------------------------------------------

_REPLY = re.compile(
    r"(?P<code>[25]\d\d)[ -](?:(?P<class>[245])\.(?P<subject>\d{1,3})\.(?P<detail>\d{1,3})\b)?(?P<text>.*)"
)
# RFC 3463, section 3.2, and RFC 7505, section 4.2: bad mailbox, moved and no forwarding, and X.1.10 as some servers
# use it, for a recipient that their directory has not.
_NO_MAILBOX = frozenset({("1", "1"), ("1", "6"), ("1", "10")})
_SAYS_NO_MAILBOX = re.compile(
    r"(no such|unknown|invalid|non-?existent)\s+(user|recipient|mailbox|address|account|local part)"
    r"|(user|recipient|mailbox|address|account)\s+(is\s+)?(unknown|not found|not known|invalid)"
    r"|(user|recipient|mailbox|address|account)\s+(here\s+)?(does not|doesn't) exist|no mailbox here",
    re.IGNORECASE,
)
# Words of refusals that are about us, the sender or the message, whatever code they come with.
_ANOTHER_REASON = re.compile(
    r"spam|polic|block|black|listed|reputation|denied|relay|sender|spf|dkim|dmarc|dnsbl|rbl|too many|rate"
    r"|grey|gray|temporar|try again|quota|full|size|virus|reverse|ptr|helo|tls|encrypt|authenti",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\S*@\S*")
# RFC 5321, section 3.5.3: the server does not say whether the mailbox exists.
_CANNOT_VERIFY = 252


def says_of_mailbox(reply: Reply) -> Verdict:
    """What a reply to RCPT says of the mailbox: GOOD, BAD, or UNKNOWN where it says something else or nothing."""
    if reply.is_success:
        return Verdict.UNKNOWN if reply.code == _CANNOT_VERIFY else Verdict.GOOD
    match = _REPLY.fullmatch(str(reply))
    if match is None or not reply.is_refusal:
        return Verdict.UNKNOWN
    # The address itself may be called anything.
    text = _ADDRESS.sub("", match["text"])
    if _ANOTHER_REASON.search(text):
        return Verdict.UNKNOWN
    if match["class"] is not None:
        is_bad = match["class"] == "5" and (match["subject"], match["detail"]) in _NO_MAILBOX
    else:
        is_bad = reply.code == 550 and _SAYS_NO_MAILBOX.search(text) is not None
    return Verdict.BAD if is_bad else Verdict.UNKNOWN


def reply_of(text: str) -> Reply | None:
    """The reply that this is the text of, None for what is no reply (a lost connection, a reason of our own)."""
    code = text[:3]
    is_reply = len(code) == 3 and code.isascii() and code.isdigit() and text[3:4] in ("", " ", "-")
    return Reply(int(code), text[4:]) if is_reply else None


def taught(reply: Reply, disposition: Disposition) -> Verdict:
    """What a delivery's final reply teaches. A refusal that is *suspect* (the primary has only just come back) teaches
    nothing, and neither does one that only asks to wait."""
    match disposition:
        case Disposition.DELIVERED:
            return Verdict.GOOD
        case Disposition.FAILED | Disposition.HELD:
            said = says_of_mailbox(reply)
            return said if said is Verdict.BAD else Verdict.UNKNOWN
    return Verdict.UNKNOWN


# Lists ----------------------------------------------------------------------------------------------------------

LARGEST_LOSS = 0.9


def why_suspicious(before: int, after: int, bad_lines: int) -> str | None:
    """Why a new list should not take the place of the old one, None where it may.

    What is an error page, half an export or an empty directory must not turn every recipient into a bad one.
    """
    if after == 0:
        return "it holds no address of this primary's domains"
    if bad_lines > after:
        return f"{bad_lines} of its lines are no address, and only {after} are"
    if before - after > before * LARGEST_LOSS:
        return f"it holds {after} of what were {before} addresses"
    return None
