"""Does our name lead to us: an address of its own, no alias (RFC 2181, section 10.3; RFC 5321, section 5.1)?"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import dns.asyncresolver

from fallback_mx.doctor import zone
from fallback_mx.doctor.asking import addresses_of, ask
from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.smtp.ourselves import plain

CHECK = "address"
# Nothing is sent there: the system only says which address it would send from.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """`alias` is what the name is another name for; `here` are public addresses of this machine."""

    hostname: str
    addresses: tuple[str, ...] = ()
    alias: str = ""
    trouble: str = ""
    here: tuple[str, ...] = ()


async def gather(hostname: str, resolver: dns.asyncresolver.Resolver) -> AddressFacts:
    alias = await ask(resolver, hostname, "CNAME")
    found, trouble = await addresses_of(resolver, hostname)
    target = next((plain(record.target.to_text()) for record in alias.records), "")
    return AddressFacts(hostname, found, target, "" if found else trouble, public_addresses())


def judge(facts: AddressFacts) -> Finding:
    name = facts.hostname
    if "." not in name:
        fix = 'Write the full name in server.hostname, for example "mx2.example.org".'
        return error(CHECK, name, f"{name} is no full host name: nobody elsewhere can look it up", fix)
    if facts.trouble:
        return error(CHECK, name, facts.trouble, "Look at the name servers of our own name.")
    records = zone.addresses(name, facts.here or facts.addresses)
    if facts.alias:
        reason = f"{name} is an alias of {facts.alias}: an exchanger must have addresses of its own"
        return error(CHECK, name, reason, "Take the CNAME out, and write addresses in its place.", records)
    if not facts.addresses:
        fix = "Add one with this machine's public address."
        return error(CHECK, name, f"{name} has no address: nobody finds us", fix, records)
    listed = ", ".join(facts.addresses)
    hidden = [each for each in facts.addresses if not ipaddress.ip_address(each).is_global]
    if hidden:
        reason = f"{name} is {listed}, and senders elsewhere do not reach {', '.join(hidden)}"
        fix = (
            "If your own network is told something else than the world, ask a name server outside: --resolver 9.9.9.9. "
            "If not, write the public address."
        )
        return warning(CHECK, name, reason, fix, zone.addresses(name, facts.here) if facts.here else ())
    return ok(CHECK, name, f"{name} is {listed}")


def public_addresses() -> tuple[str, ...]:
    """Those from which this machine speaks to the world; none behind address translation."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as trial:
                trial.connect((elsewhere, 9))
                own = trial.getsockname()[0].partition("%")[0]
        except OSError:
            continue
        if ipaddress.ip_address(own).is_global:
            found.append(own)
    return tuple(found)
