"""Do our TLSA records match the certificate that we show (RFC 7672)? Wrong ones keep senders away that believe them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import dns.asyncresolver

from fallback_mx.doctor import zone
from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp import dane
from fallback_mx.smtp.certificates import public_key
from fallback_mx.smtp.dane import ANCHOR, END_ENTITY, Record
from fallback_mx.smtp.ourselves import plain

CHECK = "tlsa"
KEY, SHA256 = 1, 1


@dataclass(frozen=True, slots=True)
class TlsaFacts:
    """`chain` is what we show, our own certificate first; empty where we show none."""

    hostname: str
    port: int = 25
    records: tuple[Record, ...] = ()
    is_validated: bool = False
    trouble: str = ""
    chain: tuple[bytes, ...] = ()


async def gather(hostname: str, port: int, chain: tuple[bytes, ...], resolver: dns.asyncresolver.Resolver) -> TlsaFacts:
    try:
        records, is_validated = await dane.find(hostname, port, resolver)
    except NoConnection as failure:
        return TlsaFacts(hostname, port, trouble=failure.detail, chain=chain)
    return TlsaFacts(hostname, port, records, is_validated, chain=chain)


def judge(facts: TlsaFacts) -> Finding:
    us = plain(facts.hostname)
    ready = _ready(facts)
    if facts.trouble:
        fix = "Senders that use DANE do not come while this fails (RFC 7672, section 2.1): look at the name servers."
        return error(CHECK, us, facts.trouble, fix)
    if not facts.records:
        note = "; in a zone that is signed you may add one" if ready else ""
        return ok(CHECK, us, f"{us} has no TLSA records, and needs none{note}", ready)
    usable = [record for record in facts.records if record.is_usable]
    if not facts.chain:
        reason = f"{us} has TLSA records, and we show no certificate: senders that use DANE do not come"
        return error(CHECK, us, reason, "Configure the certificate, or take the records out.")
    if usable and not any(_matches(record, facts.chain) for record in usable):
        reason = "no TLSA record matches the certificate that we show: senders that use DANE do not come"
        fix = "Put this in their place; leave the old one in until it has been forgotten elsewhere."
        return error(CHECK, us, reason, fix, ready)
    if not usable:
        reason = "none of our TLSA records is of a kind that mail goes by (usage 2 or 3)"
        return warning(CHECK, us, reason, "Put this in their place.", ready)
    if not facts.is_validated:
        reason = "a TLSA record matches, and the name server that was asked has not validated it"
        fix = (
            "Sign the zone (DNSSEC), or ask a name server that validates with --resolver: unsigned, nobody believes it."
        )
        return warning(CHECK, us, reason, fix)
    return ok(CHECK, us, "a TLSA record matches the certificate that we show")


def _matches(record: Record, chain: tuple[bytes, ...]) -> bool:
    if record.usage == END_ENTITY:
        return record.matches(chain[0])
    return record.usage == ANCHOR and any(record.matches(each) for each in chain[1:])


def _ready(facts: TlsaFacts) -> tuple[str, ...]:
    if not facts.chain:
        return ()
    try:
        key = public_key(facts.chain[0])
    except ValueError:
        return ()
    record = Record(END_ENTITY, KEY, SHA256, hashlib.sha256(key).digest())
    return (zone.tlsa(plain(facts.hostname), facts.port, record),)
