"""Are we among a domain's mail exchangers, and not first (RFC 5321, section 5.1)?

Senders go to the lowest number first. An exchanger that shares the lowest number with the primary gets half of the mail
while the primary is up; one that is alone in having it gets all.
"""

from __future__ import annotations

from dataclasses import dataclass

import dns.asyncresolver

from fallback_mx.doctor import zone
from fallback_mx.doctor.asking import ask
from fallback_mx.doctor.finding import Finding, error, ok
from fallback_mx.doctor.patient import Ward
from fallback_mx.smtp.ourselves import plain

CHECK = "mx"
STEP = 10


@dataclass(frozen=True, slots=True)
class MxFacts:
    """`records` are (preference, host); `primary_host` is what the configuration calls the primary, "" for nothing."""

    domain: str
    hostname: str
    records: tuple[tuple[int, str], ...] = ()
    trouble: str = ""
    primary_host: str = ""


async def gather(domain: str, hostname: str, ward: Ward, resolver: dns.asyncresolver.Resolver) -> MxFacts:
    answer = await ask(resolver, domain, "MX")
    records = tuple(sorted((each.preference, plain(each.exchange.to_text())) for each in answer.records))
    return MxFacts(domain, hostname, records, answer.trouble, next(filter(zone.is_name, ward.hosts), ""))


def judge(facts: MxFacts) -> Finding:
    domain = facts.domain
    if facts.trouble:
        fix = "Look at the domain's name servers, or ask another one with --resolver."
        return error(CHECK, domain, facts.trouble, fix)
    if any(host == "" for _, host in facts.records):
        reason = f"{domain} says that it takes no mail (MX 0 .)"
        return error(CHECK, domain, reason, "Write the exchangers in its place.", _both(facts))
    if not facts.records:
        reason = f"{domain} has no MX records: senders go to its own address, and never to us"
        return error(CHECK, domain, reason, "Add both, the primary with the lower number.", _both(facts))
    return _of_order(facts)


def _of_order(facts: MxFacts) -> Finding:
    domain, us = facts.domain, plain(facts.hostname)
    others = [(number, host) for number, host in facts.records if host != us]
    ours = [number for number, host in facts.records if host == us]
    if not ours:
        reason = f"{us} is not among the exchangers of {domain} ({_listed(facts.records)})"
        return error(CHECK, domain, reason, "Add this record; senders find us by it in an outage.", _behind(facts))
    if not others:
        reason = f"{us} is the only exchanger of {domain}: all mail comes here first"
        return error(CHECK, domain, reason, "Add the primary, with a lower number.", _both(facts))
    first, host = others[0]
    if min(ours) <= first:
        how = "comes before" if min(ours) < first else "stands as high as"
        reason = f"{us} ({min(ours)}) {how} {host} ({first}): senders come here while the primary is up"
        return error(CHECK, domain, reason, "Give us a higher number than every other.", _behind(facts))
    return ok(CHECK, domain, f"{us} ({min(ours)}) stands behind {host} ({first})")


def _listed(records: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(f"{host} {number}" for number, host in records[:5])


def _behind(facts: MxFacts) -> tuple[str, ...]:
    us = plain(facts.hostname)
    highest = max(number for number, host in facts.records if host != us)
    return (zone.mx(facts.domain, min(highest + STEP, 65535), us),)


def _both(facts: MxFacts) -> tuple[str, ...]:
    primary = facts.primary_host or f"mail.{facts.domain}"
    return (zone.mx(facts.domain, STEP, primary), zone.mx(facts.domain, 2 * STEP, facts.hostname))
