"""Questions to name servers. An answer is data: what was found, or why nothing was. Nothing is raised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.resolver

from fallback_mx.bounces.vouching import system_resolver
from fallback_mx.smtp.route import validating

PATIENCE_SECONDS = 8.0
FIRST_PATIENCE_SECONDS = 2.5


@dataclass(frozen=True, slots=True)
class Answer:
    """Records, none where there surely are none. `trouble` is why nobody knows, "" where somebody does."""

    records: tuple[Any, ...] = ()
    trouble: str = ""
    is_validated: bool = False


def prepared(resolver: dns.asyncresolver.Resolver) -> dns.asyncresolver.Resolver:
    """Have this resolver say what DNSSEC vouches for, and answer in a time that a person waits for."""
    resolver.timeout = min(resolver.timeout, FIRST_PATIENCE_SECONDS)
    resolver.lifetime = min(resolver.lifetime, PATIENCE_SECONDS)
    # Several checks ask the same.
    resolver.cache = dns.resolver.Cache()
    return validating(resolver)


def resolver(chosen: tuple[str, int] | None) -> dns.asyncresolver.Resolver:
    """One that asks this name server, or those of the system."""
    if chosen is None:
        return prepared(system_resolver())
    asking = dns.asyncresolver.Resolver(configure=False)
    asking.nameservers, asking.port = [chosen[0]], chosen[1]
    return prepared(asking)


async def ask(resolver: dns.asyncresolver.Resolver, name: str, kind: str) -> Answer:
    """The records of this name and kind."""
    try:
        found = await resolver.resolve(f"{name.rstrip('.')}.", kind, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN:
        return Answer()
    except dns.exception.Timeout:
        return Answer(trouble=f"no answer for {kind} of {name} in time")
    except (dns.exception.DNSException, OSError, UnicodeError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return Answer(trouble=f"no answer for {kind} of {name}: {said[:300]}")
    return Answer(tuple(found.rrset or ()), is_validated=bool(found.response.flags & dns.flags.AD))


async def addresses_of(resolver: dns.asyncresolver.Resolver, host: str) -> tuple[tuple[str, ...], str]:
    """Every address of a host, IPv4 first, and the trouble there was, "" for none."""
    answers = await asyncio.gather(*(ask(resolver, host, kind) for kind in ("A", "AAAA")))
    found = tuple(record.address for answer in answers for record in answer.records)
    return found, next((answer.trouble for answer in answers if answer.trouble), "")


def text_of(record: Any) -> str:
    """A TXT record's strings, joined as RFC 7208 (section 3.3) has it."""
    return b"".join(record.strings).decode("utf-8", "backslashreplace")
