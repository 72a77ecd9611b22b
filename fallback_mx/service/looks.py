"""How a primary is looked at: a probe of its mail port as deep as configured, and a knock at each of its other ports.

The ports are knocked at while the probe goes on, one connection each. What our own machine could not try at one of them
is left out; at the mail port it is no look at all (NotProbed).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from fallback_mx.config import Primary, Server, WatchedPort
from fallback_mx.redelivery import Drain
from fallback_mx.rules.disposition import NoConnection
from fallback_mx.rules.observation import Observation, PortSeen, with_ports
from fallback_mx.service.next_hops import dial_settings
from fallback_mx.smtp.depth import Depth
from fallback_mx.smtp.dial import DialSettings, Line
from fallback_mx.smtp.knock import knock
from fallback_mx.smtp.probe import TIMEOUTS, Manner, Stopwatch, probe
from fallback_mx.smtp.reach import Source
from fallback_mx.smtp.route import NextHop, Route

# How long a message may take that shows a full primary to be none that is down.
PATIENCE_WITH_FULL_SECONDS = 30.0
LOOK_AT_DELIVERIES_SECONDS = 0.05


def manner_of(primary: Primary) -> Manner:
    """How far this primary's probes go."""
    return Manner(Depth(primary.probe), primary.probe_recipient or f"postmaster@{primary.domains[0]}")


async def knock_at(port: WatchedPort, route: Route, source: Source, decides: bool = False) -> PortSeen | None:
    """What comes of a knock at one port; None where our own machine could not try. Without a host it is that of the
    primary's next hops which answers first."""
    try:
        if port.host is not None:
            hops: Sequence[NextHop] = [NextHop(port.host, port.port)]
        else:
            hops = [replace(hop, port=port.port) for hop in await route.next_hops()]
        said = await knock(hops, source)
    except NoConnection as failure:
        return None if failure.phase == "ours" else PortSeen(str(port), False, failure.detail, decides)
    return PortSeen(str(port), True, said, decides)


class Looks:
    """`open_line` opens a line by these settings; `drain` tells what deliveries see meanwhile. `last` is what
    was seen last."""

    def __init__(
        self,
        primary: Primary,
        server: Server,
        route: Route,
        open_line: Callable[[DialSettings], Awaitable[Line]],
        drain: Callable[[], Drain],
    ) -> None:
        self.last: Observation | None = None
        self._manner = manner_of(primary)
        self._dial = replace(dial_settings(primary, server, TIMEOUTS), depth=self._manner.depth)
        self._route = route
        self._open_line = open_line
        self._drain = drain
        self._ports = [(port, True) for port in primary.down_ports] + [(port, False) for port in primary.alert_ports]

    async def look(self) -> Observation:
        """Raises NotProbed."""
        if not self._ports:
            self.last = await self._look_at_mail_port()
            return self.last
        async with asyncio.TaskGroup() as tasks:
            knocks = [
                tasks.create_task(knock_at(port, self._route, self._dial.source, decides))
                for port, decides in self._ports
            ]
            looking = tasks.create_task(_caught(self._look_at_mail_port()))
        seen = looking.result()
        if isinstance(seen, Exception):
            raise seen
        ports = [found for task in knocks if (found := task.result()) is not None]
        self.last = with_ports(seen, ports)
        return self.last

    async def _look_at_mail_port(self) -> Observation:
        began, in_use = asyncio.get_running_loop().time(), self._drain().connections
        seen = await self._probe()
        if not seen.good and seen.phase in ("connect", "banner", "ehlo") and (in_use or self._drain().connections):
            seen = await self._beside_deliveries(seen, began)
        return seen

    async def _probe(self) -> Observation:
        stopwatch = Stopwatch()
        dial = replace(self._dial, hear=stopwatch.hear)
        return await probe(lambda: self._open_line(dial), manner=self._manner, stopwatch=stopwatch)

    async def _beside_deliveries(self, seen: Observation, began: float) -> Observation:
        """A probe got no connection while deliveries had some: it may be they that take up the room. A message that is
        served after the probe began shows that the primary is up; where they have left meanwhile it is looked at again.
        """
        loop, drain = asyncio.get_running_loop(), self._drain()
        while not drain.has_served_since(began):
            if not drain.connections:
                again = await self._probe()
                return again if again.good else seen
            if loop.time() >= began + PATIENCE_WITH_FULL_SECONDS:
                return seen
            await asyncio.sleep(LOOK_AT_DELIVERIES_SECONDS)
        detail = f"takes our mail, and no connection more: {seen.detail}"
        seconds = loop.time() - began
        return replace(seen, good=True, phase="delivery", detail=detail, duration_seconds=seconds, phases=())


async def _caught(looking: Awaitable[Observation]) -> Observation | Exception:
    """What it raises is for whoever looks, and no reason to cut off the knocks in the middle."""
    try:
        return await looking
    except Exception as error:
        return error
