"""Where a domain's mail goes next: by configuration, or by MX (RFC 5321, section 5.1).

Never to ourselves, nor to anything listed behind ourselves: mail that a backup sends to a backup goes in circles. DNS
trouble of any kind is temporary; so is a domain that says it takes no mail (RFC 7505), since mail is in the queue that
it did take. What cannot be routed now raises NoConnection in phase "route".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.rdtypes.ANY.MX import MX

from fallback_mx.rules.disposition import NoConnection


@dataclass(frozen=True, slots=True)
class NextHop:
    """A host and port; `addresses` where they are known already, else the system's resolver is asked."""

    host: str
    port: int = 25
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ourselves:
    """The names and addresses under which others reach us."""

    names: frozenset[str]
    addresses: frozenset[str] = frozenset()

    def has_name(self, host: str) -> bool:
        return _plain(host) in {_plain(name) for name in self.names}


class StaticRoute:
    """These hosts, in this order."""

    def __init__(self, hops: Sequence[NextHop]) -> None:
        self._hops = tuple(hops)

    async def next_hops(self) -> tuple[NextHop, ...]:
        return self._hops


class MxRoute:
    """The hosts that a domain's MX records name, the most preferred first, equals in an order of chance.

    `chance` gives numbers in [0, 1).
    """

    def __init__(
        self,
        domain: str,
        ourselves: Ourselves,
        resolver: dns.asyncresolver.Resolver,
        chance: Callable[[], float],
        port: int = 25,
    ) -> None:
        self._domain = domain
        self._ourselves = ourselves
        self._resolver = resolver
        self._chance = chance
        self._port = port

    async def next_hops(self) -> tuple[NextHop, ...]:
        """Those that have an address. Raises NoConnection where there is none, or none before ourselves."""
        hops: list[tuple[int, NextHop]] = []
        for preference, host in await self._hosts():
            addresses = await self._addresses(host)
            if self._ourselves.addresses.intersection(addresses):
                hops = [each for each in hops if each[0] < preference]
                break
            if addresses:
                hops.append((preference, NextHop(host, self._port, addresses)))
        if not hops:
            raise NoConnection("route", f"{self._domain}: no next hop but ourselves has an address")
        return tuple(hop for _, hop in hops)

    async def _hosts(self) -> list[tuple[int, str]]:
        records = await self._mx_records()
        if not records:
            # No MX record: the domain is its own (RFC 5321, section 5.1).
            return [] if self._ourselves.has_name(self._domain) else [(0, self._domain)]
        if any(host == "" for _, host in records):
            raise NoConnection("route", f"{self._domain} takes no mail, its MX record says")
        ours = min((preference for preference, host in records if self._ourselves.has_name(host)), default=None)
        ordered = sorted((preference, self._chance(), host) for preference, host in records)
        return [(preference, host) for preference, _, host in ordered if ours is None or preference < ours]

    async def _mx_records(self) -> list[tuple[int, str]]:
        try:
            answer = await self._resolver.resolve(self._domain, "MX")
        except dns.resolver.NoAnswer:
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise NoConnection("route", f"{self._domain}: {_one_line(error)}") from error
        return [
            (record.preference, record.exchange.to_text(omit_final_dot=True).removesuffix("."))
            for record in answer
            if isinstance(record, MX)
        ]

    async def _addresses(self, host: str) -> tuple[str, ...]:
        found = await asyncio.gather(*(self._lookup(host, kind) for kind in ("AAAA", "A")))
        return tuple(address for addresses in found for address in addresses)

    async def _lookup(self, host: str, kind: str) -> list[str]:
        try:
            return [record.to_text() for record in await self._resolver.resolve(host, kind)]
        except (dns.exception.DNSException, OSError):
            # One host, or one family, without an address leaves the others.
            return []


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
