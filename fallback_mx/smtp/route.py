"""Where a domain's mail goes next: by configuration, or by MX (RFC 5321, section 5.1).

Never to ourselves, nor to anything listed as high as ourselves or behind: mail that a backup sends to a backup goes in
circles. We know ourselves by name, by the addresses of our name, and by where we listen; whom only its greeting gives
away is found out in fallback_mx.smtp.dial. DNS trouble of any kind is temporary; so is a domain that says it takes no
mail (RFC 7505), since mail is in the queue that it did take. What cannot be routed now raises NoConnection in phase
"route", and Loop where the records lead to us alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dns.asyncresolver
import dns.exception
import dns.flags
from dns.rdtypes.ANY.MX import MX

from fallback_mx.rules.disposition import Loop, NoConnection
from fallback_mx.smtp.ourselves import Ourselves

EDNS_OCTETS = 1232


@dataclass(frozen=True, slots=True)
class NextHop:
    """A host and port; `addresses` where they are known already, else the system's resolver is asked.

    `is_certain`: nobody can have forged that it is the next hop, since it was configured, or DNSSEC vouches for the MX
    record.
    """

    host: str
    port: int = 25
    addresses: tuple[str, ...] = ()
    is_certain: bool = True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
        """Those that have an address. Raises NoConnection where there is none, Loop where nobody comes before us."""
        records, is_certain = await self._mx_records()
        if any(host == "" for _, host in records):
            raise NoConnection("route", f"{self._domain} takes no mail, its MX record says")
        # No MX record: the domain is its own (RFC 5321, section 5.1).
        records = records or [(0, self._domain)]
        ours = min((preference for preference, host in records if self._ourselves.has_name(host)), default=None)
        before = [each for each in records if ours is None or each[0] < ours]
        own = await self._own_addresses() if before else frozenset()
        hops: list[tuple[int, NextHop]] = []
        is_anybody_before = bool(before)
        for preference, _, host in sorted((preference, self._chance(), host) for preference, host in before):
            addresses = await self._addresses(host)
            if any(each in own or self._ourselves.is_at(each, self._port) for each in addresses):
                hops = [each for each in hops if each[0] < preference]
                is_anybody_before = any(each < preference for each, _ in before)
                break
            if addresses:
                hops.append((preference, NextHop(host, self._port, addresses, is_certain)))
        if not is_anybody_before:
            raise Loop(
                f"the MX records of {self._domain} name nobody before ourselves: write the primary's own host in its "
                "[[primary]], or an MX record for it with a lower number than ours"
            )
        if not hops:
            raise NoConnection("route", f"{self._domain}: no next hop before ourselves has an address")
        return tuple(hop for _, hop in hops)

    async def _mx_records(self) -> tuple[list[tuple[int, str]], bool]:
        """Preferences and hosts, and whether the resolver has validated them."""
        try:
            answer = await self._resolver.resolve(self._domain, "MX", raise_on_no_answer=False)
        except (dns.exception.DNSException, OSError) as error:
            raise NoConnection("route", f"{self._domain}: {_one_line(error)}") from error
        found = [
            (record.preference, record.exchange.to_text(omit_final_dot=True).removesuffix("."))
            for record in answer.rrset or ()
            if isinstance(record, MX)
        ]
        return found, bool(answer.response.flags & dns.flags.AD)

    async def _own_addresses(self) -> frozenset[str]:
        """What our names lead to, where that is where others reach us."""
        if not self._ourselves.is_reached_by(self._port):
            return frozenset()
        found = await asyncio.gather(*(self._addresses(name) for name in sorted(self._ourselves.names)))
        return frozenset(address for addresses in found for address in addresses)

    async def _addresses(self, host: str) -> tuple[str, ...]:
        found = await asyncio.gather(*(self._lookup(host, kind) for kind in ("AAAA", "A")))
        return tuple(address for addresses in found for address in addresses)

    async def _lookup(self, host: str, kind: str) -> list[str]:
        try:
            return [record.to_text() for record in await self._resolver.resolve(host, kind)]
        except (dns.exception.DNSException, OSError):
            # One host, or one family, without an address leaves the others.
            return []


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the mail of one primary goes: to these `hops`, in this order, or where the MX records of `domain` lead.

    `wants_validation`: the resolver is asked whether DNSSEC vouches for the records.
    """

    hops: tuple[NextHop, ...] = ()
    domain: str = ""
    port: int = 25
    ourselves: Ourselves = field(default_factory=lambda: Ourselves(frozenset()))
    wants_validation: bool = False

    def route(self) -> Route:
        if self.hops:
            return StaticRoute(self.hops)
        resolver = dns.asyncresolver.Resolver()
        if self.wants_validation:
            validating(resolver)
        return MxRoute(self.domain, self.ourselves, resolver, random.random, self.port)

    def __str__(self) -> str:
        return ", ".join(str(hop) for hop in self.hops) or f"the MX of {self.domain}"


Route = StaticRoute | MxRoute


def validating(resolver: dns.asyncresolver.Resolver) -> dns.asyncresolver.Resolver:
    """Have this resolver ask for validation."""
    resolver.use_edns(0, dns.flags.DO, EDNS_OCTETS)
    # In a question the bit says that it is wanted in the answer (RFC 6840, section 5.7).
    resolver.flags = dns.flags.RD | dns.flags.AD
    return resolver


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
