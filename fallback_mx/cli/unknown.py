"""What to say of a name that nobody knows: that it is unknown, which one may have been meant, and which there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fallback_mx.config import Config


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "Did you mean 'queue'?", "" where nothing is like it."""
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), list(known))
    return f"Did you mean {' or '.join(repr(one) for one in near)}?" if near else ""


def unknown_primary(settings: Config, name: str | None) -> str:
    """One clause for a primary that is not configured; "" for one that is, for `reports`, and where none was named."""
    from fallback_mx.rules.bouncing import REPORTS

    names = [one.name for one in settings.primaries]
    if name is None or name in (*names, REPORTS):
        return ""
    perhaps = did_you_mean(name, names)
    return f"no primary is called {name}; there are {', '.join(names)}{'. ' + perhaps if perhaps else ''}"


def no_message_matches(settings: Config, primary: str | None) -> str:
    """Why a listing is empty. Mail may wait for a primary that is no longer configured, so the mail is looked for
    first."""
    reason = unknown_primary(settings, primary)
    return f"no message matches: {reason}" if reason else "no message matches"
