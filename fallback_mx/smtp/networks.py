"""Which clients are meant by the addresses and networks of a setting."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class Networks:
    """A set of addresses: `in` tells whether a client's is one of them. Text that is no address is in none."""

    def __init__(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()) -> None:
        self._networks = tuple(networks)

    def __contains__(self, client_address: str) -> bool:
        # Most services have no such setting: every connection asks.
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(client_address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
