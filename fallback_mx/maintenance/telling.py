"""How maintenance is told of in a status: in words, and for programs. No person's name or address is in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from fallback_mx.maintenance.windows import Upkeep
from fallback_mx.sla.windows import Window
from fallback_mx.spoken import duration
from fallback_mx.visible import impersonal

SOON = timedelta(days=1)


def words(primary: str, upkeep: Upkeep, now: datetime) -> Iterator[str]:
    """What is on, and what begins within a day."""
    if upkeep.on is not None and upkeep.until is not None:
        yield f"{primary} is under maintenance for {duration(upkeep.until - now)} more{_why(upkeep.on)}"
    coming = upkeep.next
    if coming is not None and coming.interval.start - now < SOON:
        begins, length = duration(coming.interval.start - now), duration(coming.interval.length)
        yield f"maintenance of {primary} begins in {begins}, for {length}{_why(coming)}"


def _why(window: Window) -> str:
    return f" ({impersonal(window.reason)})" if window.reason else ""


def as_json(upkeep: Upkeep) -> dict[str, Any]:
    """`until` is when the last of the windows ends that are on or touch one that is."""
    return {
        "on": _window(upkeep.on),
        "until": None if upkeep.until is None else _moment(upkeep.until),
        "next": _window(upkeep.next),
    }


def _window(window: Window | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {
        "start": _moment(window.interval.start),
        "end": _moment(window.interval.end),
        "kind": str(window.kind),
        "announced_at": None if window.announced_at is None else _moment(window.announced_at),
        "reason": impersonal(window.reason),
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
