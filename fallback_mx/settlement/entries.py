"""What the book of settlements holds beside annotations: reports, claims, decisions, and months that were frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fallback_mx.sla.claims import Claim
from fallback_mx.sla.reports import Report


@dataclass(frozen=True, slots=True)
class ReportEntry:
    """A report of downtime, and who wrote it down when."""

    id: str
    report: Report
    author: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person made of a claim. `objections` are what the rules said then, by name and with commas between."""

    id: str
    claim: str
    granted: bool
    objections: str
    reason: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ClaimEntry:
    """A claim for `month` ("2026-10"), who wrote it down when, and what was decided, the last word last."""

    id: str
    month: str
    claim: Claim
    author: str
    recorded_at: datetime
    decisions: tuple[Decision, ...] = ()

    @property
    def state(self) -> str:
        if not self.decisions:
            return "open"
        return "granted" if self.decisions[-1].granted else "refused"


@dataclass(frozen=True, slots=True)
class FrozenMonth:
    """A month as it was closed. `content` is JSON of figures, agreement and inputs; `sha256` is of its UTF-8 octets."""

    id: str
    primary: str
    month: str
    content: str
    sha256: str
    reason: str
    author: str
    at: datetime
