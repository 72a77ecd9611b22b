"""Durations and sizes as people say them: "14 min", "2 h 5 min", "3 days", "12.3 kB".

Rounded towards nothing happening: a duration is never said to be longer than it is. What a program reads is exact and
is printed elsewhere.
"""

from __future__ import annotations

from datetime import timedelta


def duration(length: timedelta) -> str:
    """At most two units, the smaller left out where it is zero. Negative lengths count as none."""
    seconds = max(0, int(length.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes == 0:
        return f"{seconds} s"
    if hours == 0:
        return f"{minutes} min"
    if days == 0:
        return _two(f"{hours} h", minutes % 60, "min")
    return _two(f"{days} day" if days == 1 else f"{days} days", hours % 24, "h")


def _two(large: str, small: int, unit: str) -> str:
    return f"{large} {small} {unit}" if small else large


def octets(size: int) -> str:
    """Three digits at most and a decimal unit."""
    amount = float(size)
    units = ["TB", "GB", "MB", "kB", "B"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop()
    return f"{amount:.3g} {units[-1]}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """ "1 message", "2 messages"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
