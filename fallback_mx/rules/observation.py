"""One look at a primary: what was seen of it, how far it came, and how long each step took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class PortSeen:
    """Whether somebody answered at one more port. `decides`: the primary is down while nobody does."""

    name: str
    good: bool
    detail: str
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a primary, by a probe or by a delivery.

    `at` is when it began; where it took `duration_seconds` it speaks for all of that time. `phase` is how far it came
    ("route", "connect", "banner", "ehlo", "starttls", "auth", "mail", "rcpt", "port", "delivery"), `detail` what was
    seen there, in a few words. A probe has in `phases` the seconds of each, and in `ports` what else was knocked at.
    """

    good: bool
    at: datetime
    phase: str
    detail: str
    duration_seconds: float | None = None
    size_limit: int | None = None  # octets of the largest message that it takes, where it has said so (RFC 1870)
    phases: tuple[tuple[str, float], ...] = ()
    certificate_expires_at: datetime | None = None
    ports: tuple[PortSeen, ...] = ()

    @property
    def ended_at(self) -> datetime:
        return self.at + timedelta(seconds=self.duration_seconds or 0)

    @property
    def is_probe(self) -> bool:
        """Whether it took the same steps as those before it, so that its time can be held against theirs."""
        return bool(self.phases)


def with_ports(seen: Observation, ports: Sequence[PortSeen]) -> Observation:
    """The look with what its other ports say of the primary. What failed at its mail port comes first."""
    failed = next((port for port in ports if port.decides and not port.good), None)
    if seen.good and failed is not None:
        detail = f"port {failed.name}: {failed.detail}"
        return replace(seen, good=False, phase="port", detail=detail, ports=tuple(ports))
    return replace(seen, ports=tuple(ports))
