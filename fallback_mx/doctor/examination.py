"""All checks together, each with its own time: one that hangs holds up none of the others.

A check that has not come to its end in time, or that fails in a way nobody foresaw, is a finding like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fallback_mx.doctor.finding import Finding, error

AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Check:
    """`name` and `subject` say in a finding and on a terminal what is being looked at."""

    name: str
    subject: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


Progress = Callable[[int, Sequence[Check]], None]
"""Told how many checks are done, and which are under way."""


async def examine(checks: Sequence[Check], seconds: float, progress: Progress) -> list[Finding]:
    """The findings, in the order of the checks. Each check has so many seconds."""
    places = asyncio.Semaphore(AT_ONCE)
    under_way = list(checks)
    progress(0, under_way)

    async def one(check: Check) -> Sequence[Finding]:
        async with places:
            found = await _bounded(check, seconds)
        under_way.remove(check)
        progress(len(checks) - len(under_way), under_way)
        return found

    found = await asyncio.gather(*map(one, checks))
    return [finding for findings in found for finding in findings]


async def _bounded(check: Check, seconds: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(seconds):
            return await check.look()
    except TimeoutError:
        reason = f"this check did not come to its end within {seconds:g} s"
        fix = "Try again with a longer --timeout; if it still hangs, what it looks at does not answer."
    except Exception as failure:
        reason = f"this check itself failed: {type(failure).__name__}: {failure}"
        fix = "That is a mistake in this program: report it with this line."
    return [error(check.name, check.subject, reason, fix)]
