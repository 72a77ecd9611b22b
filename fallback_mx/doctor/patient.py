"""Who is examined: this service as it is configured, the primaries it stands in for, and the tools to look with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dns.asyncresolver

from fallback_mx.smtp.dial import DialSettings
from fallback_mx.smtp.route import Destination


@dataclass(frozen=True, slots=True)
class Ward:
    """One primary, and the domains of it that are asked about. `hosts` are those that its configuration names."""

    name: str
    domains: tuple[str, ...]
    destination: Destination
    dial: DialSettings
    hosts: tuple[str, ...] = ()
    has_list: bool = False
    stale_after: timedelta = timedelta(days=1)
    unknown_recipients: str = "accept"
    takes_routing_characters: bool = False
    recipient: str = ""
    sender: str = ""

    @property
    def domain(self) -> str:
        return self.domains[0]

    @property
    def test_recipient(self) -> str:
        return self.recipient or f"postmaster@{self.domain}"


@dataclass(frozen=True, slots=True)
class Patient:
    """This service. `listen` is where it says it listens; `port` where others reach mail exchangers, 25 but in trials.

    `is_behind_proxy`: connections from this machine are taken for those of a load balancer. `queue_directory` is None
    where the queue is on a database server.
    """

    hostname: str
    listen: tuple[tuple[str, int], ...]
    wards: tuple[Ward, ...]
    port: int = 25
    certificate: Path | None = None
    sources: tuple[str, ...] = ()
    is_behind_proxy: bool = False
    queue_directory: Path | None = None
    min_free_octets: int = 0

    @property
    def local_places(self) -> tuple[tuple[str, int], ...]:
        """Where this machine reaches the listener."""
        return tuple((reachable(host), port) for host, port in self.listen if port)


@dataclass(frozen=True, slots=True)
class Tools:
    """`resolver` answers as the service's own does, or is the one that was asked for (`is_chosen`). `https_port` is 443
    but in trials."""

    resolver: dns.asyncresolver.Resolver
    is_chosen: bool = False
    https_port: int = 443
    clock_server: tuple[str, int] | None = None


def reachable(host: str) -> str:
    """The address by which this machine reaches what listens at `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
