"""Claims for credit: until when one may arrive, and what speaks against it.

The rules judge; a person decides, and the decision is on record beside what the rules said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from zoneinfo import ZoneInfo

from fallback_mx.sla.agreement import Agreement, ClaimsFrom
from fallback_mx.sla.days import BusinessDay, after_business_days
from fallback_mx.sla.intervals import Interval, IntervalSet, within
from fallback_mx.sla.reports import Report, touches
from fallback_mx.sla.settling import Settlement

_MICROSECOND = timedelta(microseconds=1)
_NONE_IN_SIGHT = 9999


@dataclass(frozen=True, slots=True)
class Customer:
    """Who may claim. Without `contacts` anybody may; without an `account` any number is taken."""

    name: str
    account: str
    contacts: frozenset[str]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as it arrived: of which downtime, from whom, under which account, and whether that was in arrears."""

    primary: str
    interval: Interval
    account: str
    contact: str
    at: datetime
    in_arrears: bool

    @property
    def as_report(self) -> Report:
        """Who claims credit for downtime with its date and times has reported it."""
        return Report(self.primary, self.interval, self.contact, self.at)


class Objection(StrEnum):
    """What speaks against a claim."""

    NO_CREDIT = "no_credit"
    OTHER_DOWNTIME = "other_downtime"
    EARLY = "early"
    LATE = "late"
    NO_ACCOUNT = "no_account"
    OTHER_ACCOUNT = "other_account"
    NOT_AUTHORISED = "not_authorised"
    ARREARS = "arrears"

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Objection.NO_CREDIT: "the month's uptime earns no credit",
    Objection.OTHER_DOWNTIME: "none of the downtime that counts lies in the times it names",
    Objection.EARLY: "it arrived before the agreement was broken",
    Objection.LATE: "it arrived after the last business day for it",
    Objection.NO_ACCOUNT: "it names no account",
    Objection.OTHER_ACCOUNT: "the account is another customer's",
    Objection.NOT_AUTHORISED: "the contact is not an authorised one",
    Objection.ARREARS: "the account is in arrears",
}


def broken_at(settlement: Settlement) -> datetime | None:
    """When the counted downtime of the month had used up what the agreement allows; None while it has not.

    Where the allowance and the target differ the smaller of the two decides: from there on something is broken.
    """
    allowed = min(settlement.allowance, settlement.proportional_allowance)
    left = allowed * 1_000_000
    for interval in settlement.counted:
        length = Fraction(interval.length // _MICROSECOND)
        if length > left:
            return interval.start + timedelta(microseconds=int(left))
        left -= length
    return None


def claim_until(
    agreement: Agreement,
    settlement: Settlement,
    outages: IntervalSet,
    zone: ZoneInfo,
    is_business_day: BusinessDay,
) -> datetime | None:
    """Before when a claim must arrive; None where nothing is broken, or the outage that broke it goes on."""
    broken = broken_at(settlement)
    if broken is None:
        return None
    match agreement.claims_from:
        case ClaimsFrom.BREACH:
            start = broken
        case ClaimsFrom.OUTAGE_END:
            start = _end_of_outage(within(outages, settlement.period), max(broken, settlement.counted[-1].start))
        case ClaimsFrom.MONTH_END:
            # The month's last moment: its end is the first of the next one.
            start = settlement.month.end - _MICROSECOND
    if start.year == _NONE_IN_SIGHT:
        return None
    return after_business_days(start, agreement.claim_within_business_days, zone, is_business_day)


def objections(
    claim: Claim, customer: Customer, settlement: Settlement, outages: IntervalSet, is_business_day: BusinessDay
) -> tuple[Objection, ...]:
    """Everything that speaks against a claim, by the order of Objection."""
    found = set()
    runs = within(outages, settlement.period)
    broken = broken_at(settlement)
    if settlement.verdict.credit == 0:
        found.add(Objection.NO_CREDIT)
    if broken is not None:
        until = claim_until(settlement.agreement, settlement, runs, customer.zone, is_business_day)
        if claim.at < broken:
            found.add(Objection.EARLY)
        if until is not None and claim.at >= until:
            found.add(Objection.LATE)
        if not any(touches(claim.interval, counted) for counted in settlement.counted):
            found.add(Objection.OTHER_DOWNTIME)
    if not claim.account:
        found.add(Objection.NO_ACCOUNT)
    elif customer.account and claim.account != customer.account:
        found.add(Objection.OTHER_ACCOUNT)
    if customer.contacts and claim.contact.casefold() not in {one.casefold() for one in customer.contacts}:
        found.add(Objection.NOT_AUTHORISED)
    if claim.in_arrears:
        found.add(Objection.ARREARS)
    return tuple(one for one in Objection if one in found)


def _end_of_outage(outages: IntervalSet, moment: datetime) -> datetime:
    """The end of the outage in which a moment lies."""
    return next((one.end for one in outages if one.start <= moment < one.end), moment.astimezone(UTC))
