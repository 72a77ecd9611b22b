"""Who we are to others: by which names and at which addresses they reach this service.

Mail that a backup sends to itself goes in circles, so no next hop may be one of these (RFC 5321, section 5.1).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

SMTP_PORT = 25


@dataclass(frozen=True, slots=True)
class Ourselves:
    """Our names, addresses that are known to be ours, and where we listen: (address, port), 0.0.0.0 and :: for all."""

    names: frozenset[str]
    addresses: frozenset[str] = frozenset()
    listen: tuple[tuple[str, int], ...] = ()

    def has_name(self, host: str) -> bool:
        return plain(host) in {plain(name) for name in self.names}

    def is_reached_by(self, port: int) -> bool:
        """Whether somebody who connects to one of our names at this port may reach us: who listens elsewhere is behind
        something that hands port 25 on."""
        return port == SMTP_PORT or any(port == own for _, own in self.listen)

    def is_at(self, address: str, port: int) -> bool:
        if address in self.addresses:
            return True
        return any(port == own_port and _covers(own, address) for own, own_port in self.listen)


def plain(host: str) -> str:
    return host.rstrip(".").lower()


def _covers(own: str, address: str) -> bool:
    """Whether listening at `own` is listening at `address`."""
    try:
        here, there = ipaddress.ip_address(own), ipaddress.ip_address(address)
    except ValueError:
        return False
    return here == there or (here.is_unspecified and here.version == there.version and _is_local(there))


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this machine has the address: only then can a socket be bound to it."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((str(address), 0))
        except OSError:
            return False
    return True
