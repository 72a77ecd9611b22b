"""Months and moments as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fallback_mx.sla.intervals import Interval

_MONTH = re.compile(r"(\d{4})-(\d{2})")
_ZONED = re.compile(r"([Zz]|[+-]\d\d:?\d\d)$")


def read_month(text: str | None, now: datetime) -> str:
    """A month such as 2026-11, the current one (UTC) where none was written. Raises click.UsageError."""
    if text is None:
        return f"{now.astimezone(UTC):%Y-%m}"
    found = _MONTH.fullmatch(text)
    if found is None or not 1 <= int(found[2]) <= 12 or not 1970 <= int(found[1]) <= 9998:
        raise click.UsageError(f"--month {text} is not a month. Write it as 2026-11.")
    return text


def read_moment(option: str, text: str) -> datetime:
    """An RFC 3339 time, such as 2026-11-05T20:30:00Z; without a zone it is UTC. Raises click.UsageError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise click.UsageError(f"{option} {text} is not a time. Write it as 2026-11-05T20:30:00Z.") from None
    if is_zoned(text):
        return moment.astimezone(UTC)
    return moment.replace(tzinfo=UTC)


def is_zoned(text: str) -> bool:
    """Whether a time says its own zone."""
    return _ZONED.search(text.strip()) is not None


def read_interval(start: str, end: str) -> Interval:
    """From --from to --to. Raises click.UsageError."""
    from fallback_mx.sla.intervals import Interval

    first, last = read_moment("--from", start), read_moment("--to", end)
    if last <= first:
        raise click.UsageError(f"--to {end} is not after --from {start}.")
    return Interval(first, last)
