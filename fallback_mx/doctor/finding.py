"""What a check has found: how bad it is, why, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """ERROR: mail is lost to senders, refused or open to abuse as it stands. WARNING: it will be, or may be."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `subject` is a domain, a primary, an address or a host.

    `fix` is what to do, "" where nothing is to be done; `records` are lines for a zone file that belong to it.
    """

    check: str
    subject: str
    level: Level
    reason: str
    fix: str = ""
    records: tuple[str, ...] = ()


def ok(check: str, subject: str, reason: str, records: tuple[str, ...] = ()) -> Finding:
    return Finding(check, subject, Level.OK, reason, records=records)


def warning(check: str, subject: str, reason: str, fix: str, records: tuple[str, ...] = ()) -> Finding:
    return Finding(check, subject, Level.WARNING, reason, fix, records)


def error(check: str, subject: str, reason: str, fix: str, records: tuple[str, ...] = ()) -> Finding:
    return Finding(check, subject, Level.ERROR, reason, fix, records)
