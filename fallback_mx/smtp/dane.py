"""DANE for SMTP: the host's own zone says which certificate it has (RFC 7672; RFC 6698 and RFC 7671 for the records).

The records are believed only where the resolver says that it has validated them (the AD bit), and the way to that
resolver must be one that nobody can tamper with: it belongs on this machine. What follows from what is found:

  records that can be used     TLS, and the certificate must match one of them
  records, none of them usable TLS, whatever the certificate (RFC 7672, section 2.2)
  surely no records            opportunistic TLS (the same)
  not validated, or no answer  no connection: who wrote "dane" does not want a guess

Usages are 3 (this very certificate or key; name and dates do not count) and 2 (an authority, for this host's name); 0
and 1 cannot be used for mail (section 3.1.3). A record of usage 2 names an authority that OpenSSL must know before the
handshake: unless the record holds it whole, it is taken from what the server sends, on a connection of its own.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.resolver
from dns.rdtypes.ANY.TLSA import TLSA

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.certificates import public_key
from fallback_mx.smtp.tls_policy import Handshake, Untrusted, unverified

ANCHOR, END_ENTITY = 2, 3
WHOLE, SHA256, SHA512 = 0, 1, 2
_DIGEST_OCTETS = {SHA256: 32, SHA512: 64}


@dataclass(frozen=True, slots=True)
class Record:
    """One TLSA record."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def is_usable(self) -> bool:
        """Whether it is of a kind that mail can go by, and of the shape of its kind."""
        if self.usage not in (ANCHOR, END_ENTITY) or self.selector not in (0, 1) or not self.data:
            return False
        return self.matching == WHOLE or len(self.data) == _DIGEST_OCTETS.get(self.matching)

    def matches(self, certificate: bytes) -> bool:
        """Whether it speaks of this certificate."""
        selected = public_key(certificate) if self.selector else certificate
        if self.matching == SHA256:
            return hashlib.sha256(selected).digest() == self.data
        if self.matching == SHA512:
            return hashlib.sha512(selected).digest() == self.data
        return selected == self.data


class AnchorFound(Exception):
    """The server sent the certificate of an authority that its records name. `handshake` is for another connection,
    on which it is verified."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__("a trust anchor was found")
        self.handshake = handshake


async def look_up(host: str, port: int, resolver: dns.asyncresolver.Resolver) -> tuple[Record, ...]:
    """The host's TLSA records, none where it surely has none. Raises NoConnection."""
    if _is_address(host):
        raise NoConnection("route", f"{host} is an address: tls = dane needs the name of a host")
    records, is_validated = await find(host, port, resolver)
    if not is_validated:
        raise not_validated(f"the answer about TLSA of {_asked(host, port)}")
    return records


async def find(host: str, port: int, resolver: dns.asyncresolver.Resolver) -> tuple[tuple[Record, ...], bool]:
    """What the resolver says of the host's TLSA records, and whether it has validated that. Raises NoConnection."""
    asked = _asked(host, port)
    try:
        answer = await resolver.resolve(asked, "TLSA", raise_on_no_answer=False, search=False)
        response, found = answer.response, tuple(answer.rrset or ())
    except dns.resolver.NXDOMAIN as error:
        response, found = error.responses()[dns.name.from_text(asked)], ()  # type: ignore[no-untyped-call]
    except (dns.exception.DNSException, OSError) as error:
        is_late = isinstance(error, dns.exception.Timeout)
        said = "no answer in time" if is_late else " ".join(str(error).split()) or type(error).__name__
        raise NoConnection("route", f"TLSA of {asked}: {said}") from error
    records = tuple(
        Record(each.usage, each.selector, each.mtype, each.cert) for each in found if isinstance(each, TLSA)
    )
    return records, bool(response.flags & dns.flags.AD)


def _asked(host: str, port: int) -> str:
    return f"_{port}._tcp.{host.rstrip('.')}."


def not_validated(what: str) -> NoConnection:
    return NoConnection(
        "route",
        f"{what} is not validated. tls = dane needs a zone that is signed, and in /etc/resolv.conf a resolver on this "
        "machine that validates; else write tls = verify",
    )


def handshake(host: str, records: Sequence[Record]) -> Handshake:
    """How to begin TLS with a host that has these records. Its judge may raise AnchorFound."""
    if not records:
        return Handshake(unverified(), host, is_demanded=False)
    usable = tuple(record for record in records if record.is_usable)
    if not usable:
        return Handshake(unverified(), host)
    return Handshake(unverified(), host, functools.partial(_judge, host, usable))


def _judge(host: str, records: Sequence[Record], chain: Sequence[bytes]) -> None:
    if any(record.usage == END_ENTITY and record.matches(chain[0]) for record in records):
        return
    anchors = [record for record in records if record.usage == ANCHOR]
    found = [each for each in chain[1:] if any(record.matches(each) for record in anchors)]
    # A whole certificate in a record need not be sent.
    found += [record.data for record in anchors if (record.selector, record.matching) == (0, WHOLE)]
    if not found:
        raise Untrusted(f"no certificate that it sent matches the TLSA records of {host}")
    raise AnchorFound(Handshake(_anchored(found), host))


def _anchored(authorities: Sequence[bytes]) -> ssl.SSLContext:
    """Trusts these alone, whether or not they are at the top of their own chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for authority in authorities:
        try:
            context.load_verify_locations(cadata=authority)
        except ssl.SSLError as error:
            raise Untrusted("a TLSA record holds something that is no certificate") from error
    return context


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
