"""Closing a month: its figures, its agreement and everything that they were made of, as one text with a hash.

The same record gives the same text, so that anybody who has it can settle the month again. What changes afterwards
(a late annotation, a report that was found, a clock that was wrong) shows as a correction of the figures.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from fallback_mx.settlement.data import data, figures
from fallback_mx.settlement.entries import FrozenMonth
from fallback_mx.settlement.month import Month
from fallback_mx.sla.intervals import intersection

# What people decide about a closed month is no correction of it.
_NO_FIGURES = frozenset({"claims"})


def content(month: Month) -> str:
    """Figures, agreement and inputs as JSON, the keys in order."""
    settlement, history = month.settlement, month.record.history
    inputs = {
        "month": data(settlement.month),
        "customer_time_zone": str(month.contract.customer.zone),
        "outages": data(month.record.spans),
        "down": data(intersection(history.down, [settlement.period])),
        "known": data(intersection(history.known, [settlement.period])),
        "maintenance": data(settlement.maintenance),
        "annotations": data(history.annotations),
        "reports": data(history.reports),
    }
    whole = {"figures": _lasting(figures(month)), "agreement": data(month.contract.agreement), "inputs": inputs}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def frozen(month: Month, entry_id: str, reason: str, author: str, at: datetime) -> FrozenMonth:
    text = content(month)
    return FrozenMonth(entry_id, month.primary, month.name, text, sha256(text), reason, author, at)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_whole(entry: FrozenMonth) -> bool:
    """Whether the text is still the one that was frozen."""
    return sha256(entry.content) == entry.sha256


def corrections(month: Month) -> dict[str, dict[str, Any]]:
    """By figure, what it was when the month was frozen last and what it is now. Empty where nothing has changed."""
    if not month.frozen:
        return {}
    was = _flat(json.loads(month.frozen[-1].content)["figures"])
    # As JSON has them: what is read back is compared with what would be written.
    now = _flat(json.loads(json.dumps(_lasting(figures(month)))))
    keys = dict.fromkeys([*now, *was])
    return {key: {"was": was.get(key), "is": now.get(key)} for key in keys if was.get(key) != now.get(key)}


def frozen_data(month: Month) -> dict[str, Any] | None:
    """What `sla report` says of a frozen month; None where it is not frozen."""
    if not month.frozen:
        return None
    last = month.frozen[-1]
    return {
        "at": data(last.at),
        "author": last.author,
        "reason": last.reason,
        "sha256": last.sha256,
        "whole": is_whole(last),
        "times": len(month.frozen),
        "corrections": corrections(month),
    }


def _flat(of: dict[str, Any]) -> dict[str, Any]:
    """{"seconds": {"down": 5}} as {"seconds.down": 5}."""
    flat: dict[str, Any] = {}
    for key, value in of.items():
        flat |= {f"{key}.{below}": each for below, each in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _lasting(of: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in of.items() if key not in _NO_FIGURES}
