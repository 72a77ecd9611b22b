"""Durations and sizes as people write them in the configuration: "10s", "30d", "50MB".

One number and one unit, nothing else: what `format_*` writes, `parse_*` reads back to the same value. Text that is
no duration or size raises ValueError; the caller says which key it stood under and what to write instead.
"""

from __future__ import annotations

import re
from datetime import timedelta

DURATION_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}

# Decimal and binary units as IEC 80000-13 has them: a MB is a million octets, a MiB 1024 * 1024 of them.
SIZE_UNITS = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}

_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,12})([A-Za-z]+)")
_SIZE_UNIT_BY_LOWER_CASE = {unit.lower(): octets for unit, octets in SIZE_UNITS.items()}


def parse_duration(text: str) -> timedelta:
    """A duration from text such as "500ms", "30s", "10m", "12h" or "30d"."""
    number, unit = _split(text)
    try:
        return number * DURATION_UNITS[unit]
    except (KeyError, OverflowError):
        raise ValueError(text) from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as this duration; below a millisecond is cut off."""
    for unit, length in reversed(DURATION_UNITS.items()):
        if duration and duration % length == timedelta(0):
            return f"{duration // length}{unit}"
    return f"{duration // DURATION_UNITS['ms']}ms" if duration else "0s"


def parse_size(text: str) -> int:
    """A number of octets from text such as "50MB" or "512KiB". Capitals make no difference."""
    number, unit = _split(text)
    try:
        return number * _SIZE_UNIT_BY_LOWER_CASE[unit.lower()]
    except KeyError:
        raise ValueError(text) from None


def format_size(octets: int) -> str:
    """The shortest text that `parse_size` reads back as this number of octets."""
    whole = [unit for unit, length in SIZE_UNITS.items() if octets and octets % length == 0]
    return min((f"{octets // SIZE_UNITS[unit]}{unit}" for unit in whole), key=len, default="0B")


def _split(text: str) -> tuple[int, str]:
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]), match[2]
