"""Questions to name servers from a thread, by a resolver that lives on an event loop.

Nothing found is an empty answer. Everything else that goes wrong, and time that has run out, is `Unanswered`: who asks
then knows nothing, and must not decide as if it knew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver


class Unanswered(Exception):
    """No answer came, or none that says anything. The text names the question."""


class Names:
    """`deadline` is a moment of the monotonic clock. The loop must run on while questions are asked."""

    def __init__(
        self, resolver: dns.asyncresolver.Resolver, loop: asyncio.AbstractEventLoop, deadline_seconds: float
    ) -> None:
        self._resolver = resolver
        self._loop = loop
        self._deadline = time.monotonic() + deadline_seconds

    def ask(self, name: str, kind: str) -> Sequence[Any]:
        """The records of this kind, blocking. Raises Unanswered."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Unanswered(f"no time left to ask for {kind} of {name}")
        asking = asyncio.run_coroutine_threadsafe(self._resolve(name, kind, left), self._loop)
        try:
            return asking.result(left)
        except (FutureTimeout, TimeoutError):
            asking.cancel()
            raise Unanswered(f"no answer for {kind} of {name} in time") from None

    async def _resolve(self, name: str, kind: str, seconds: float) -> Sequence[Any]:
        lifetime = min(seconds, self._resolver.lifetime)
        try:
            return list(await self._resolver.resolve(f"{name.rstrip('.')}.", kind, lifetime=lifetime))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            raise Unanswered(f"{kind} of {name}: {' '.join(str(error).split())[:200]}") from error
