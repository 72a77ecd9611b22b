"""Maintenance as the arithmetic takes it: plain values, each one window that happened or is to happen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fallback_mx.sla.intervals import Interval


class MaintenanceKind(StrEnum):
    """Which words of an agreement a window falls under.

    SCHEDULED is at most as long as the agreement allows, and what runs longer counts; EMERGENCY and CUSTOMER (asked for
    by the customer) are as long as they were.
    """

    SCHEDULED = "scheduled"
    EMERGENCY = "emergency"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True)
class Window:
    """One maintenance window of one primary. `kind` is a MaintenanceKind or its text.

    `announced_at` is when the customer was told, None where it was recorded without notice. Raises ValueError on a kind
    that is not known.
    """

    interval: Interval
    kind: str
    announced_at: datetime | None
    reason: str
    author: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", MaintenanceKind(self.kind))
