"""What is told of a primary beside its outages: that it is slow, that a port is closed, that its certificate ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from fallback_mx import maillog
from fallback_mx.monitor import Monitor
from fallback_mx.outages.spans import Kind
from fallback_mx.rules.health import Health, State

# Before a certificate ends there must be time to get another.
CERTIFICATE_NOTICE = timedelta(days=14)


def on_beside(name: str, kind: Kind, subject: str, before: Health, after: Health) -> None:
    """The state of its pace, or of one of its other ports, has changed."""
    detail = after.last.detail if after.last is not None else ""
    if after.state is State.DOWN and before.state in (State.UNKNOWN, State.UP, State.FALLING):
        since = after.failing_since or after.since
        if kind is Kind.SLOW:
            maillog.slow_started(name, started_at=since, detail=detail)
        else:
            maillog.port_failed(name, port=subject, started_at=since, detail=detail)
    elif before.state in (State.DOWN, State.RISING) and after.state in (State.UP, State.UNKNOWN):
        ended_at = before.recovering_since or after.since
        if kind is Kind.SLOW:
            maillog.slow_ended(name, ended_at=ended_at, detail=detail)
        else:
            maillog.port_recovered(name, port=subject, ended_at=ended_at)


def tell_again(monitor: Monitor) -> None:
    """All that is the matter with a primary now and has been told before, while nobody was to be alarmed."""
    health = monitor.health
    if _is_told(health) and health.failing_since is not None:
        maillog.outage_started(monitor.name, started_at=health.failing_since, cause=_failure(health))
    if monitor.slow_since is not None:
        maillog.slow_started(monitor.name, started_at=monitor.slow_since, detail="")
    for port in monitor.ports:
        if _is_told(port.health) and port.health.failing_since is not None:
            since = port.health.failing_since
            maillog.port_failed(monitor.name, port=port.name, started_at=since, detail=_failure(port.health))


def _is_told(health: Health) -> bool:
    return health.state in (State.DOWN, State.RISING)


def _failure(health: Health) -> str:
    return health.last.detail if health.last is not None and not health.last.good else ""


class CertificateNotice:
    """Says once for each certificate that it is about to end, and once that it has ended."""

    def __init__(self, primary: str) -> None:
        self._primary = primary
        self._said: tuple[datetime, bool] | None = None

    def see(self, expires_at: datetime | None, now: datetime) -> None:
        if expires_at is None or expires_at - now > CERTIFICATE_NOTICE:
            return
        saying = (expires_at, expires_at <= now)
        if saying != self._said:
            self._said = saying
            maillog.certificate_ends(self._primary, expires_at=expires_at, is_over=expires_at <= now)
