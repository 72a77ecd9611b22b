"""Spans and unknown time as programs get them. No address of a person is in any of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fallback_mx.outages.gaps import Unknown
from fallback_mx.outages.spans import Span
from fallback_mx.visible import impersonal


def span_json(span: Span) -> dict[str, Any]:
    """A span as programs get it. `duration_seconds` is None while it goes on."""
    length = None if span.ended_at is None else span.interval.length.total_seconds()
    return {
        "id": span.id,
        "primary": span.primary,
        "node": span.node,
        "started_at": moment(span.started_at),
        "ended_at": moment(span.ended_at),
        "duration_seconds": length,
        "confirmed": span.confirmed_at is not None,
        "cause": {"phase": span.cause_phase, "detail": impersonal(span.cause_detail)},
        "port": span.subject or None,
        "confirmed_at": moment(span.confirmed_at),
        "last_good_at": moment(span.last_good_at),
        "failures": span.failures,
        "last_failed_at": moment(span.last_failed_at),
        "last_failure": {"phase": span.last_failed_phase, "detail": impersonal(span.last_failed_detail)},
        "end": {"phase": span.end_phase, "detail": impersonal(span.end_detail)},
        "mail_accepted": span.mail_accepted,
        "mail_delivered": span.mail_delivered,
    }


def unknown_json(primary: str, piece: Unknown) -> dict[str, Any]:
    """A time that nobody watched, as programs get it; `cause` is None where nobody can say why."""
    return {
        "primary": primary,
        "started_at": moment(piece.interval.start),
        "ended_at": moment(piece.interval.end),
        "duration_seconds": piece.interval.length.total_seconds(),
        "cause": None if piece.cause is None else piece.cause.value,
        "detail": impersonal(piece.detail),
    }


def moment(at: datetime | None) -> str | None:
    """RFC 3339, in UTC, to the microsecond."""
    return None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")
