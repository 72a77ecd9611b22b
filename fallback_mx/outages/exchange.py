"""Outages and watched time as JSON Lines, so that a history of another monitor can be settled, and ours elsewhere.

A line is {"primary", "started_at", "ended_at", "cause"} with RFC 3339 times, `ended_at` null for an outage that goes
on; watched time has no cause. An id is made of what a line says: reading one twice is reading it once. BadLine says
what is wrong with a line; nothing of a file with a bad line is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from fallback_mx.outages.spans import MAX_DETAIL, Span, Watch
from fallback_mx.sla.intervals import Interval, union
from fallback_mx.visible import visible

NODE = "import"
_PHASE = "import"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_OUTAGE_KEYS = frozenset({"primary", "started_at", "ended_at", "cause"})
_WATCH_KEYS = frozenset({"primary", "started_at", "ended_at"})


class BadLine(Exception):
    """A line that cannot be read. `number` counts from 1."""

    def __init__(self, number: int, wrong: str) -> None:
        super().__init__(f"line {number}: {wrong}")
        self.number = number
        self.advice = (
            'Write {"primary": "main", "started_at": "2026-10-05T10:00:00Z", "ended_at": "2026-10-05T11:30:00Z",'
            ' "cause": "connect: refused"}, one a line. Nothing was imported.'
        )


def read_outages(lines: Iterable[str], now: datetime) -> Iterator[Span]:
    """Outages, each confirmed from its start. Raises BadLine."""
    for number, values in _objects(lines, _OUTAGE_KEYS):
        start, end = _times(number, values, now)
        cause = values.get("cause", "")
        if not isinstance(cause, str):
            raise BadLine(number, '"cause" is not text')
        cause = visible(cause[:MAX_DETAIL])
        primary = _primary(number, values)
        yield Span(
            _id("outage", primary, start, end),
            primary,
            NODE,
            start,
            _PHASE,
            cause,
            confirmed_at=start,
            ended_at=end,
        )


def read_watches(lines: Iterable[str], now: datetime) -> Iterator[Watch]:
    """Times that were watched. Raises BadLine."""
    for number, values in _objects(lines, _WATCH_KEYS):
        start, end = _times(number, values, now)
        if end is None:
            raise BadLine(number, '"ended_at" is missing: say until when it was watched')
        primary = _primary(number, values)
        yield Watch(_id("watch", primary, start, end), primary, NODE, start, end)


def outage_line(span: Span) -> dict[str, Any]:
    """An outage as a line. What was imported goes out as it came in."""
    own_phase = span.cause_phase != _PHASE
    cause = f"{span.cause_phase}: {span.cause_detail}" if own_phase and span.cause_detail else span.cause_detail
    return {
        "primary": span.primary,
        "started_at": rfc3339(span.started_at),
        "ended_at": None if span.ended_at is None else rfc3339(span.ended_at),
        "cause": cause or (span.cause_phase if own_phase else ""),
    }


def watch_lines(primary: str, watches: Iterable[Watch], period: Interval) -> Iterator[dict[str, Any]]:
    """The time of a period that any node watched, each stretch a line."""
    for piece in union(watch.interval for watch in watches):
        start, end = max(piece.start, period.start), min(piece.end, period.end)
        if start < end:
            yield {"primary": primary, "started_at": rfc3339(start), "ended_at": rfc3339(end)}


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _objects(lines: Iterable[str], known: frozenset[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadLine(number, f"is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise BadLine(number, "is not a JSON object")
        if unknown := sorted(set(values) - known):
            raise BadLine(number, f'"{unknown[0]}" is not a key of such a line')
        yield number, values


def _primary(number: int, values: Mapping[str, Any]) -> str:
    name = values.get("primary")
    if not isinstance(name, str) or not name or name != visible(name) or len(name) > 64:
        raise BadLine(number, '"primary" is not the name of a primary')
    return name


def _times(number: int, values: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime | None]:
    start = _time(number, "started_at", values.get("started_at"))
    end = None if values.get("ended_at") is None else _time(number, "ended_at", values["ended_at"])
    if start > now or (end is not None and end > now):
        raise BadLine(number, "lies in the future")
    if end is not None and end < start:
        raise BadLine(number, "ends before it starts")
    return start, end


def _time(number: int, key: str, value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        if moment.tzinfo is None:
            raise BadLine(number, f'"{key}" has no zone')
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadLine(number, f'"{key}" is not an RFC 3339 time') from None
    if moment < _EARLIEST:
        raise BadLine(number, f'"{key}" lies before 1970')
    return moment


def _id(kind: str, primary: str, start: datetime, end: datetime | None) -> str:
    """26 characters as every id has, but of what it is of: the same line has the same one. An outage that went on keeps
    its id when its end is known."""
    text = "\0".join((kind, primary, rfc3339(start), "" if kind == "outage" or end is None else rfc3339(end)))
    value = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
