"""Which network a client's address belongs to.

Mail servers of one sender share a network and take turns: a message that was tried from one address may come again from
its neighbour. A /24 or a /64 is what such a pool has in common, and all that a single customer of a provider is sure to
have (RFC 6177: for IPv6 sites get a /48 or somewhat less, that is what one can have at most).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(text: str) -> Address | None:
    """The address, an IPv4 one where it is written as IPv6 (::ffff:192.0.2.1); None for what is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_of(client_address: str) -> str:
    """The /24 or /64 as text; what is no address stands for itself."""
    return _network(client_address, 24, 64)


def allotment_of(client_address: str) -> str:
    """The /24 or /48 as text: what one sender can have of addresses without being many."""
    return _network(client_address, 24, 48)


@lru_cache(maxsize=4096)
def _network(text: str, bits_v4: int, bits_v6: int) -> str:
    address = address_of(text)
    if address is None:
        return text
    bits = bits_v4 if address.version == 4 else bits_v6
    return str(ipaddress.ip_network((address, bits), strict=False))
