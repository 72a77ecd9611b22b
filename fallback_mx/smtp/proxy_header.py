"""The PROXY protocol, versions 1 and 2: who is behind a connection that a proxy made (haproxy, doc/proxy-protocol.txt).

`parse` looks at what has come so far and decides as soon as it can. It takes what the document allows and nothing else;
whatever deviates raises BadHeader, and the connection must be closed. No header is longer than 64 KiB and 16 octets.
Which proxies are believed is not decided here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1_PREFIX = b"PROXY "
V1_LIMIT = 107  # octets, CRLF included
V2_HEAD = 16
LOCAL, PROXY = 0x20, 0x21
STREAM = 1
ADDRESS_BLOCK = {0: 0, 1: 12, 2: 36, 3: 216}  # by address family: unspecified, IPv4, IPv6, UNIX
CRC32C, CRC32C_POLYNOMIAL = 0x03, 0x82F63B78
_PORT = re.compile("0|[1-9][0-9]{0,4}")
_V1 = re.compile(r"PROXY TCP([46]) (\S+) (\S+) (\S+) (\S+)")


class BadHeader(Exception):
    """What the connection began with is no PROXY header. The text says why, for the operator of the proxy."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Whom the proxy speaks for. `client_address` is "" where it speaks for itself (a health check) or cannot say."""

    client_address: str
    octets: int


def parse(received: bytes | bytearray) -> ProxyHeader | None:
    """The header at the start of these octets, None while more of it must come. Raises BadHeader."""
    if received.startswith(SIGNATURE[: len(received)]):
        return _parse_v2(received)
    if received.startswith(V1_PREFIX[: len(received)]):
        return _parse_v1(received)
    raise BadHeader("the connection does not begin with a PROXY header")


def _parse_v1(received: bytes | bytearray) -> ProxyHeader | None:
    end = received.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(received) >= V1_LIMIT:
            raise BadHeader("the PROXY line is too long")
        if b"\n" in received or b"\r" in received[:-1]:
            raise BadHeader("the PROXY line must end with CRLF")
        return None
    line = bytes(received[:end])
    if b"\n" in line or b"\r" in line:
        raise BadHeader("the PROXY line must end with CRLF")
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader("", end + 2)
    match = _V1.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        raise BadHeader("the PROXY line does not have a protocol, two addresses and two ports")
    version, source, destination, *ports = match.groups()
    if not all(_PORT.fullmatch(port) and int(port) <= 65535 for port in ports):
        raise BadHeader("a port in the PROXY line is no port")
    _address(destination, int(version))
    return ProxyHeader(plain_address(_address(source, int(version))), end + 2)


def _address(text: str, version: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise BadHeader("an address in the PROXY line is no address") from None
    if address.version != version or "%" in text:
        raise BadHeader("an address in the PROXY line is not of its protocol")
    return address


def plain_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The address as a socket would give it; an IPv4 address that is written in IPv6 is an IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _parse_v2(received: bytes | bytearray) -> ProxyHeader | None:
    if len(received) < V2_HEAD:
        return None
    command, family, protocol = received[12], received[13] >> 4, received[13] & 15
    end = V2_HEAD + int.from_bytes(received[14:16], "big")
    if command not in (LOCAL, PROXY):
        raise BadHeader("the PROXY header is of a version or has a command that is not known")
    if command == PROXY and (family not in ADDRESS_BLOCK or protocol > 2):
        raise BadHeader("the PROXY header has an address family or a protocol that is not known")
    if len(received) < end:
        return None
    header = bytes(received[:end])
    if command == LOCAL or family == 0 or protocol != STREAM:
        # What stands in the rest has no meaning then, and need not be well formed.
        return ProxyHeader("", end)
    extras = V2_HEAD + ADDRESS_BLOCK[family]
    if end < extras:
        raise BadHeader("the PROXY header is too short for its addresses")
    _check_extras(header, extras)
    if family not in (1, 2):
        return ProxyHeader("", end)
    packed = header[V2_HEAD : V2_HEAD + (4 if family == 1 else 16)]
    return ProxyHeader(plain_address(ipaddress.ip_address(packed)), end)


def _check_extras(header: bytes, position: int) -> None:
    """Walk over what follows the addresses: type, length and value, again and again. Only the checksum is used."""
    while position < len(header):
        value = position + 3
        length = int.from_bytes(header[position + 1 : value], "big")
        if value > len(header) or value + length > len(header):
            raise BadHeader("the PROXY header ends in the middle of an extension")
        if header[position] == CRC32C:
            told = int.from_bytes(header[value : value + length], "big")
            if length != 4 or crc32c(header[:value] + bytes(4) + header[value + 4 :]) != told:
                raise BadHeader("the PROXY header does not match its checksum")
        position = value + length


def crc32c(octets: bytes) -> int:
    """The checksum of RFC 4960, appendix B."""
    remainder = 0xFFFFFFFF
    for octet in octets:
        remainder ^= octet
        for _ in range(8):
            remainder = remainder >> 1 ^ (CRC32C_POLYNOMIAL if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF
