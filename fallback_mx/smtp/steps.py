"""The commands that await a reply, as a table: what may be said to each, and whose time it gets.

The pairing itself, and what becomes of a reply that fits nothing, is in fallback_mx.smtp.pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Step(Enum):
    """A command that awaits a reply: the first digits it may have (RFC 5321, section 4.3.2), and whose time it gets."""

    BANNER = ("the greeting", "245", "banner")
    EHLO = ("EHLO", "245", "command")
    HELO = ("HELO", "245", "command")
    STARTTLS = ("STARTTLS", "245", "command")
    AUTH = ("AUTH", "2345", "command")
    XCLIENT = ("XCLIENT", "245", "command")
    XFORWARD = ("XFORWARD", "245", "command")
    MAIL = ("MAIL", "245", "command")
    RCPT = ("RCPT", "245", "command")
    DATA = ("DATA", "345", "data")
    CONTENT = ("the content", "245", "final")
    CHUNK = ("BDAT", "245", "final")
    LAST_CHUNK = ("BDAT LAST", "245", "final")
    RSET = ("RSET", "245", "command")
    QUIT = ("QUIT", "245", "quit")

    def __init__(self, label: str, first_digits: str, timeout: str) -> None:
        self.label = label
        self.first_digits = frozenset(map(int, first_digits))
        self.timeout = timeout

    @property
    def awaited(self) -> str:
        """What is waited for, in a sentence."""
        return self.label if self is Step.BANNER else f"the reply to {self.label}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait, after RFC 5321, section 4.5.3.2; the banner's minute leaves room for tarpits of 30 s."""

    connect: float = 30.0
    banner: float = 60.0
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0
    quit: float = 5.0
