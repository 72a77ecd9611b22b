"""Do our addresses lead back to our name, and that name to them (forward-confirmed reverse DNS, RFC 8499 "PTR")?

Mail servers, primaries among them, refuse or distrust mail from addresses that do not.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver

from fallback_mx.doctor import zone
from fallback_mx.doctor.asking import addresses_of, ask
from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.smtp.ourselves import plain

CHECK = "ptr"
MAX_NAMES = 5


@dataclass(frozen=True, slots=True)
class ReverseFacts:
    """One of our addresses: the `names` it leads to, and those of them that lead back to it."""

    hostname: str
    address: str
    names: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    trouble: str = ""


async def gather(
    hostname: str, sources: Sequence[str], resolver: dns.asyncresolver.Resolver
) -> tuple[ReverseFacts, ...]:
    """Of each address that our name has or that we send from."""
    found, _ = await addresses_of(resolver, hostname)
    wanted = dict.fromkeys((*found, *sources))
    return tuple(await asyncio.gather(*(_of(hostname, address, resolver) for address in wanted)))


async def _of(hostname: str, address: str, resolver: dns.asyncresolver.Resolver) -> ReverseFacts:
    answer = await ask(resolver, ipaddress.ip_address(address).reverse_pointer, "PTR")
    names = tuple(plain(record.target.to_text()) for record in answer.records)[:MAX_NAMES]
    forward = await asyncio.gather(*(addresses_of(resolver, name) for name in names))
    confirmed = tuple(name for name, (found, _) in zip(names, forward, strict=True) if address in found)
    trouble = answer.trouble or next((trouble for _, trouble in forward if trouble and not confirmed), "")
    return ReverseFacts(hostname, address, names, confirmed, trouble)


def judge(facts: Sequence[ReverseFacts], hostname: str) -> list[Finding]:
    if not facts:
        fix = "See to the address first."
        return [error(CHECK, hostname, f"no address of {hostname} is known that could lead back to it", fix)]
    return [_judge(each) for each in facts]


def _judge(facts: ReverseFacts) -> Finding:
    address, us = facts.address, plain(facts.hostname)
    record = (zone.ptr(address, us),)
    provider = "Whoever gave you the address (the provider, as a rule, in its customer pages) sets this record."
    if facts.trouble:
        return error(CHECK, address, facts.trouble, "Look at the name servers, or ask another with --resolver.")
    if not facts.names:
        return error(CHECK, address, f"{address} leads back to no name: many servers refuse it", provider, record)
    if not facts.confirmed:
        reason = f"{address} leads back to {', '.join(facts.names)}, which does not lead to {address}"
        return error(CHECK, address, reason, provider, record)
    if us not in facts.confirmed:
        reason = f"{address} leads back to {facts.confirmed[0]}, and we greet as {us}"
        fix = f"{provider} Or write {facts.confirmed[0]} in server.hostname, and in the MX records."
        return warning(CHECK, address, reason, fix, record)
    return ok(CHECK, address, f"{address} leads back to {us}, and {us} to it")
