"""Does the SPF policy of our own name let us send (RFC 7208, section 2.4)?

Mail with the null reverse-path, bounces and our own reports, has no other domain than the one we greet with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver

from fallback_mx.bounces import sender_policy
from fallback_mx.bounces.names import Names
from fallback_mx.doctor import zone
from fallback_mx.doctor.asking import addresses_of
from fallback_mx.doctor.finding import Finding, error, ok, warning

CHECK = "helo"
SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class HeloFacts:
    """What the policy says of each of our addresses: (address, result)."""

    hostname: str
    results: tuple[tuple[str, str], ...] = ()


async def gather(hostname: str, sources: Sequence[str], resolver: dns.asyncresolver.Resolver) -> HeloFacts:
    found, _ = await addresses_of(resolver, hostname)
    names = Names(resolver, asyncio.get_running_loop(), SECONDS)
    wanted = list(dict.fromkeys((*sources, *found)))
    results = [await asyncio.to_thread(sender_policy.check, names, each, "", hostname) for each in wanted]
    return HeloFacts(hostname, tuple(zip(wanted, results, strict=True)))


def judge(facts: HeloFacts) -> Finding:
    us = facts.hostname
    ready = (zone.txt(us, "v=spf1 a -all"),)
    fix = "Let the policy of our name name our addresses, for example so:"
    if not facts.results:
        reason = f"no address of {us} is known that a policy could be asked about"
        return error(CHECK, us, reason, "See to the address first.")
    said = {result: address for address, result in facts.results}
    if "fail" in said:
        reason = f"the SPF policy of {us} does not let {said['fail']} send: bounces that we bring are refused"
        return error(CHECK, us, reason, fix, ready)
    for bad in ("softfail", "permerror", "temperror"):
        if bad in said:
            return warning(CHECK, us, f"the SPF policy of {us} says {bad} of {said[bad]}", fix, ready)
    if "pass" in said:
        return ok(CHECK, us, f"the SPF policy of {us} lets us send")
    return ok(CHECK, us, f"{us} has no SPF policy that is against us", ready)
