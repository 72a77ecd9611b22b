"""Why a primary failed, in words that name nobody: what was seen may hold its host, its address and its own words."""

from __future__ import annotations

_WORDS = {
    "route": "its address was not found",
    "connect": "it could not be reached",
    "banner": "it did not greet",
    "ehlo": "it did not answer properly",
    "starttls": "encryption with it failed",
    "auth": "it did not let this service in",
    "mail": "it refused a test",
    "rcpt": "it refused a test",
    "port": "another of its services did not answer",
    "delivery": "deliveries to it failed",
}


def plain_cause(phase: str, detail: str) -> str:
    """The cause for the public, from how far a look came and what was seen there; "" where nothing failed."""
    if not phase and not detail:
        return ""
    if phase == "connect" and "refused" in detail.lower():
        return "it refused the connection"
    return _WORDS.get(phase, "it did not work")
