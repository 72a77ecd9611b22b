"""Whether an unknown recipient is taken from a network that we do not know yet (RFC 6647).

In an outage nobody can be asked whether a recipient exists. A program that guesses names goes on to the next; a mail
server that is told to come back does. A network that once did so is known for some days, whomever it writes to.

Moments are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from fallback_mx.rules.grace import came_back

KNOWN_SECONDS = 7 * 24 * 3600.0


def may_enter(is_known: bool, first_tries: Iterable[float | None], now: float, delay_seconds: float) -> bool:
    """True for a known network, and where one of these tries came back; others are to come again after the delay."""
    return is_known or any(came_back(first_try, now, delay_seconds) for first_try in first_tries)
