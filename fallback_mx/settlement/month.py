"""One primary's month as a report tells of it: the settlement, what is behind it, and what became of claims."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fallback_mx.settlement.entries import ClaimEntry, FrozenMonth
from fallback_mx.settlement.gathering import Record
from fallback_mx.sla.agreement import Agreement
from fallback_mx.sla.claims import Customer, claim_until
from fallback_mx.sla.days import BusinessDay, month_of
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.settling import Settlement, settle


@dataclass(frozen=True, slots=True)
class Contract:
    """What was promised of a primary, and to whom."""

    primary: str
    agreement: Agreement
    region: str
    customer: Customer
    is_business_day: BusinessDay


@dataclass(frozen=True, slots=True)
class Month:
    """`name` is "2026-10". `claim_until` is None where nothing is broken, or what broke it goes on."""

    name: str
    contract: Contract
    record: Record
    settlement: Settlement
    claim_until: datetime | None
    claims: tuple[ClaimEntry, ...]
    frozen: tuple[FrozenMonth, ...] = ()

    @property
    def primary(self) -> str:
        return self.contract.primary


def calendar_month(contract: Contract, name: str) -> Interval:
    """The month of that name ("2026-10") by the agreement's zone. Raises ValueError."""
    year, _, month = name.partition("-")
    return month_of(int(year), int(month), ZoneInfo(contract.agreement.time_zone))


def settled(
    contract: Contract, name: str, record: Record, now: datetime, frozen: tuple[FrozenMonth, ...] = ()
) -> Month:
    """A month that has begun, as far as it has come by `now`."""
    whole = calendar_month(contract, name)
    period = Interval(whole.start, max(whole.start, min(whole.end, now)))
    zone = contract.customer.zone
    settlement = settle(contract.agreement, contract.region, whole, period, record.history, zone)
    until = claim_until(contract.agreement, settlement, record.history.outages, zone, contract.is_business_day)
    claims = tuple(entry for entry in record.claims if entry.month == name)
    return Month(name, contract, record, settlement, until, claims, frozen)
