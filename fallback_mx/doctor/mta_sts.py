"""Does the domain's MTA-STS policy name us (RFC 8461)? Senders that follow one that does not never come here.

The policy is fetched as a sender would: HTTPS, a certificate that is valid for its host, no redirects, bounded.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
from dataclasses import dataclass, replace
from typing import Any

import dns.asyncresolver

from fallback_mx.doctor.asking import addresses_of, ask, text_of
from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.smtp.ourselves import plain

CHECK = "mta-sts"
MAX_OCTETS = 64 * 1024  # section 3.3
PATIENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class StsFacts:
    """`record` is the text at _mta-sts, "" for none, `policy` what was fetched. `trouble` is why something could not be
    found out. `untrusted` is why our certificate would not be believed; None where nobody could ask."""

    domain: str
    hostname: str
    record: str = ""
    policy: str = ""
    trouble: str = ""
    untrusted: str | None = None


def with_trust(facts: StsFacts, untrusted: str | None) -> StsFacts:
    return replace(facts, untrusted=untrusted)


@dataclass(frozen=True, slots=True)
class Policy:
    """`mode` is enforce, testing or none; `hosts` the exchangers that it allows, "*." in front for any one label."""

    mode: str
    hosts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Raises ValueError."""
        pairs = [
            (key.strip(), value.strip()) for key, colon, value in (_cut(line) for line in text.splitlines()) if colon
        ]
        values = dict(reversed(pairs))
        if values.get("version") != "STSv1" or values.get("mode") not in ("enforce", "testing", "none"):
            raise ValueError("it has no version: STSv1, or no mode that is known")
        return cls(values["mode"], tuple(plain(value) for key, value in pairs if key == "mx"))

    def allows(self, host: str) -> bool:
        return host in self.hosts or f"*.{host.partition('.')[2]}" in self.hosts


def _cut(line: str) -> tuple[str, str, str]:
    return line.partition(":")


async def gather(domain: str, hostname: str, resolver: dns.asyncresolver.Resolver, https_port: int = 443) -> StsFacts:
    facts = StsFacts(domain, hostname)
    answer = await ask(resolver, f"_mta-sts.{domain}", "TXT")
    record = next((text for each in answer.records if (text := text_of(each)).startswith("v=STSv1")), "")
    if not record:
        return replace(facts, trouble=answer.trouble)
    host = f"mta-sts.{domain}"
    addresses, trouble = await addresses_of(resolver, host)
    if not addresses:
        return replace(facts, record=record, trouble=trouble or f"{host} has no address")
    try:
        policy = await _fetch(host, addresses[0], https_port)
    except (OSError, http.client.HTTPException, ValueError) as failure:
        said = " ".join(str(failure).split()) or "no answer in time"
        return replace(facts, record=record, trouble=f"https://{host}: {said}")
    return replace(facts, record=record, policy=policy)


async def _fetch(host: str, address: str, port: int) -> str:
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection(
            address, port, ssl=ssl.create_default_context(), server_hostname=host
        )
        try:
            writer.write(f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return _body(await _all(reader))
        finally:
            writer.transport.abort()


async def _all(reader: asyncio.StreamReader) -> bytes:
    octets = b""
    while len(octets) < MAX_OCTETS and (piece := await reader.read(MAX_OCTETS)):
        octets += piece
    return octets


class _Said:
    """What was read, in the shape in which http.client takes it."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._octets)


def _body(octets: bytes) -> str:
    """The text of a 200. Raises ValueError and HTTPException."""
    said: Any = _Said(octets)
    answer = http.client.HTTPResponse(said)
    answer.begin()
    if answer.status != http.client.OK:
        raise ValueError(f"the policy is answered with {answer.status}")
    return answer.read().decode("utf-8", "backslashreplace")


def judge(facts: StsFacts) -> Finding:
    domain, us = facts.domain, plain(facts.hostname)
    where = f"https://mta-sts.{domain}/.well-known/mta-sts.txt"
    if facts.trouble and not facts.record:
        return error(CHECK, domain, facts.trouble, "Look at the domain's name servers.")
    if not facts.record:
        return ok(CHECK, domain, f"{domain} has no MTA-STS policy that could leave us out")
    if facts.trouble:
        reason = f"{domain} announces an MTA-STS policy that cannot be fetched: {facts.trouble}"
        fix = f"Put {where} right: senders that remember an older policy go by that."
        return warning(CHECK, domain, reason, fix)
    try:
        policy = Policy.parse(facts.policy)
    except ValueError as reason:
        return warning(CHECK, domain, f"the MTA-STS policy cannot be used: {reason}", f"Put {where} right.")
    if policy.mode == "none":
        return ok(CHECK, domain, f"the MTA-STS policy of {domain} asks for nothing")
    return _of_policy(facts, policy, us, where)


def _of_policy(facts: StsFacts, policy: Policy, us: str, where: str) -> Finding:
    domain = facts.domain
    finding = error if policy.mode == "enforce" else warning
    if not policy.allows(us):
        reason = (
            f"the MTA-STS policy of {domain} ({policy.mode}) does not name {us}: senders that follow it do not come"
        )
        fix = f"Add the line `mx: {us}` to {where}, and change the id in the record at _mta-sts.{domain}."
        return finding(CHECK, domain, reason, fix)
    if facts.untrusted:
        reason = f"the MTA-STS policy names us, and our certificate would not be believed: {facts.untrusted}"
        return finding(CHECK, domain, reason, f"Have one issued for {us} by an authority that everybody knows.")
    if facts.untrusted is None:
        reason = "the MTA-STS policy names us, and our listener shows no certificate"
        return finding(CHECK, domain, reason, "See to the listener and its certificate.")
    return ok(CHECK, domain, f"the MTA-STS policy of {domain} ({policy.mode}) names {us}, and our certificate fits")
