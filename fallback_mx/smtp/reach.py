"""From a next hop to a connected socket: which of its addresses, in which order, and from which address of ours.

Every failure is NoConnection, in phase "route" where the name has no address that we may use, "connect" where nobody
answers there, and "ours" where our own machine could not try: out of descriptors or ports, or without the address that
it is to come from.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.route import NextHop

# What the next hop has no part in: descriptors, memory, ports, permissions, addresses of our own.
_OURS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,
        errno.EADDRINUSE,
        errno.EAFNOSUPPORT,
        errno.EACCES,
        errno.EPERM,
    }
)


class AddressFamily(StrEnum):
    """Which of a host's addresses are used, and which come first. ANY leaves the order to the system (RFC 6724)."""

    ANY = "any"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    PREFER_IPV4 = "prefer-ipv4"
    PREFER_IPV6 = "prefer-ipv6"


_ONLY = {AddressFamily.IPV4: socket.AF_INET, AddressFamily.IPV6: socket.AF_INET6}
_FIRST = {AddressFamily.PREFER_IPV4: socket.AF_INET, AddressFamily.PREFER_IPV6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Source:
    """Where connections come from. A family without an address comes from wherever the system chooses."""

    family: AddressFamily = AddressFamily.ANY
    ipv4: str = ""
    ipv6: str = ""

    def address(self, family: int) -> str:
        return self.ipv6 if family == socket.AF_INET6 else self.ipv4


@dataclass(frozen=True, slots=True)
class Place:
    """One address of a host. `sockaddr` is as sockets want it."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def address(self) -> str:
        return str(self.sockaddr[0])

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback


async def places(hop: NextHop, source: Source, seconds: float) -> Sequence[Place]:
    """The addresses of this hop that may be used, in the order in which to try them. Raises NoConnection."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = [
                each
                for name in hop.addresses or (hop.host,)
                for each in await loop.getaddrinfo(name, hop.port, type=socket.SOCK_STREAM)
            ]
    except TimeoutError:
        raise NoConnection("route", f"{hop.host}: no address within {seconds:g} s") from None
    except UnicodeError:
        raise NoConnection("route", f"{hop.host}: not a host name") from None
    except socket.gaierror as error:
        raise NoConnection("route", f"{hop.host}: {str(error.strerror).lower()}") from error
    except OSError as error:
        raise NoConnection("ours", f"cannot look up {hop.host}: {words(error)}") from error
    usable = _ordered([Place(int(family), sockaddr) for family, _, _, _, sockaddr in found], source.family)
    if not usable:
        raise NoConnection("route", f"{hop.host} has no address that may be used (address_family = {source.family})")
    return usable


def _ordered(found: Sequence[Place], family: AddressFamily) -> Sequence[Place]:
    unique = list(dict.fromkeys(found))
    if family in _ONLY:
        return [place for place in unique if place.family == _ONLY[family]]
    first = _FIRST.get(family)
    return unique if first is None else sorted(unique, key=lambda place: place.family != first)


async def connect(place: Place, source: Source, seconds: float) -> socket.socket:
    """A socket that is connected to this place. Raises NoConnection."""
    where = f"{place.address} port {place.sockaddr[1]}"
    candidate: socket.socket | None = None
    try:
        candidate = _bound(place, source)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(candidate, place.sockaddr)
        candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as error:
        if candidate is not None:
            candidate.close()
        if isinstance(error, TimeoutError) and not error.errno:
            raise NoConnection("connect", f"{where}: timeout, no connection within {seconds:g} s") from None
        if isinstance(error, OSError):
            phase = "ours" if error.errno in _OURS else "connect"
            raise NoConnection(phase, f"{where}: {words(error)}") from error
        raise
    return candidate


def _bound(place: Place, source: Source) -> socket.socket:
    candidate = socket.socket(place.family, socket.SOCK_STREAM)
    candidate.setblocking(False)
    address = source.address(place.family)
    try:
        if address:
            candidate.bind((address, 0))
    except OSError as error:
        candidate.close()
        raise NoConnection("ours", f"cannot come from source_address {address}: {words(error)}") from error
    return candidate


def words(error: OSError) -> str:
    """What happened, in the system's words."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
