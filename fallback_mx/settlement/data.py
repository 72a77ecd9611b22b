"""Values as JSON: a month's figures for programs, and everything behind them for the record.

Percentages are cut after six decimals and lengths are in seconds; times are RFC 3339 in UTC. The keys are a promise to
programs: they are added to and never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from fractions import Fraction
from typing import Any

from fallback_mx.outages.exchange import rfc3339
from fallback_mx.settlement.entries import ClaimEntry
from fallback_mx.settlement.month import Month
from fallback_mx.sla.figures import cut
from fallback_mx.sla.ladder import shown


def figures(month: Month) -> dict[str, Any]:
    """A month's figures, as `sla report --format json` prints them."""
    settlement = month.settlement
    parts = settlement.division.parts
    return {
        "primary": month.primary,
        "customer": month.contract.customer.name or None,
        "agreement": month.contract.agreement.name,
        "region": month.contract.region or None,
        "month": month.name,
        "period_start": rfc3339(settlement.period.start),
        "period_end": rfc3339(settlement.period.end),
        "seconds": {
            "total": seconds(parts.total),
            "up": seconds(parts.up),
            "down": seconds(parts.down),
            "maintenance": seconds(parts.maintenance),
            "excluded": seconds(parts.excluded),
            "unknown": seconds(parts.unknown),
            "counted": seconds(settlement.settled.counted),
            "month": seconds(settlement.month.length),
        },
        "uptime_percent": percent(settlement.raw.percent),
        "uptime_percent_lowest": percent(settlement.raw.lowest_percent),
        "uptime_percent_settled": percent(settlement.settled.percent),
        "uptime_percent_settled_lowest": percent(settlement.settled.lowest_percent),
        "target_percent": percent(month.contract.agreement.target),
        "allowance_minutes": percent(settlement.allowance / 60),
        "allowance_minutes_fixed": percent(settlement.fixed_allowance / 60),
        "allowance_minutes_proportional": percent(settlement.proportional_allowance / 60),
        "breach": settlement.verdict.breach,
        "breach_raw": settlement.raw_verdict.breach,
        "credit_percent": percent(settlement.verdict.credit),
        "credit_percent_raw": percent(settlement.raw_verdict.credit),
        "insufficient_data": settlement.insufficient_data,
        "claim_until": None if month.claim_until is None else rfc3339(month.claim_until),
        "claims": [claim(entry) for entry in month.claims],
    }


def claim(entry: ClaimEntry) -> dict[str, Any]:
    of_entry: dict[str, Any] = data(entry)
    return {"id": entry.id, "state": entry.state} | of_entry


def data(value: Any) -> Any:
    """Any of our frozen values as JSON, exactly: fractions and lengths lose nothing."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Fraction):
        # Those of an agreement came from decimals.
        return shown(value)
    if isinstance(value, timedelta):
        return seconds(value)
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): data(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return sorted(data(each) for each in value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [data(each) for each in value]
    return value


def seconds(length: timedelta) -> int | float:
    """Whole seconds as such; what is finer to the microsecond."""
    whole = length / timedelta(seconds=1)
    return int(whole) if whole.is_integer() else whole


def percent(value: Fraction) -> int | float:
    """A number for show: cut after six decimals."""
    shown = cut(value)
    return int(shown) if shown == int(shown) else float(shown)
