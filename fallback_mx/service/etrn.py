"""A primary's ETRN, on the service's side: which clients may ask for its mail, and what is told them (RFC 1985).

Where the configuration does not say who may, it is the primary's next hops. Their names are looked up here, again and
again, so that no session ever waits for that. A look-up that fails leaves what was known before; until the first one
has succeeded nobody may ask.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.etrn import AnyNetwork, Pending
from fallback_mx.smtp.route import NextHop, Route

FRESH_SECONDS = 600.0
RETRY_SECONDS = 30.0
# Who asks again within this time is told the same: a primary asks for each of its domains, one after the other.
SAME_SECONDS = 5.0


class Turn:
    """`start` begins what ETRN is for and gives what waits; `on_callers` hears when other clients may ask."""

    def __init__(
        self,
        configured: Sequence[AnyNetwork] | None,
        route: Route,
        start: Callable[[str], Awaitable[Pending | None]],
        on_callers: Callable[[], None],
    ) -> None:
        self.callers: frozenset[AnyNetwork] = frozenset(configured or ())
        self._route = route
        self._start = start
        self._on_callers = on_callers
        self._started_at = float("-inf")
        self._told: asyncio.Task[Pending | None] | None = None
        self._looking = asyncio.create_task(self._look_up()) if configured is None else None

    async def ask(self, client_address: str) -> Pending | None:
        """What waits, now that it was asked for; None where that cannot be said."""
        now = asyncio.get_running_loop().time()
        if self._told is None or now - self._started_at >= SAME_SECONDS:
            self._started_at = now
            self._told = asyncio.ensure_future(self._start(client_address))
        return await asyncio.shield(self._told)

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    async def _look_up(self) -> NoReturn:
        while True:
            try:
                found = frozenset(await self._addresses())
            except (NoConnection, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if found != self.callers:
                self.callers = found
                self._on_callers()
            await asyncio.sleep(FRESH_SECONDS)

    async def _addresses(self) -> list[AnyNetwork]:
        known = [await _addresses_of(hop) for hop in await self._route.next_hops()]
        return [ipaddress.ip_network(address) for addresses in known for address in addresses]


async def _addresses_of(hop: NextHop) -> Sequence[str]:
    if hop.addresses:
        return hop.addresses
    found = await asyncio.get_running_loop().getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
    return [str(address[0]).partition("%")[0] for *_, address in found]
