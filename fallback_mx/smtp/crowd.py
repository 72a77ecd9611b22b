"""How many connections there are: in all, from one client address, from one client network.

One process counts for itself alone. Several processes that accept for one service share a piece of memory without a
name: each owns a region of it, where it alone writes how many connections it has, by hash of their address and of their
network, and reads what the others wrote. There are no locks. A count is exact for what this process has; of the others
it takes in whoever falls into the same of 65,536 buckets, and it may be a moment old: where they all let in a client at
the same moment there is one too many for each. The hash is keyed: nobody can choose addresses that share a bucket with
somebody else's.

A process that died leaves its counts behind until they are forgotten, at the latest by the one that takes its place.
"""

from __future__ import annotations

import mmap
import os
import secrets
import socket
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

BUCKETS = 65_536
KEY_OCTETS = 32
HEAD_OCTETS = mmap.PAGESIZE
# The total, on a page of its own, then a bucket for every hash of an address, then one for every hash of a network.
ADDRESSES = mmap.PAGESIZE // 4
NETWORKS = ADDRESSES + BUCKETS
REGION_OCTETS = 4 * (NETWORKS + BUCKETS)
# Clients are let in as usual below this share of the connections, and hurried above it.
STRESS_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class CrowdLimits:
    """Connections at once: in all processes, from one address, from one network."""

    connections: int = 400
    per_client: int = 100
    per_network: int = 200


def share_memory(slots: int) -> int:
    """A descriptor of memory for so many processes to count in, with the key they hash by. The caller closes it."""
    descriptor = os.memfd_create("fallback-mx-crowd", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, HEAD_OCTETS + slots * REGION_OCTETS)
        os.pwrite(descriptor, secrets.token_bytes(KEY_OCTETS), 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def forget(descriptor: int, slot: int) -> None:
    """The process that counted there is gone, and its connections with it."""
    os.pwrite(descriptor, bytes(REGION_OCTETS), HEAD_OCTETS + slot * REGION_OCTETS)


def network_of(client_address: str) -> str:
    """The network that a client's address is counted under: its /24 or /64. Text that is no address is its own."""
    if ":" not in client_address:
        return client_address.rpartition(".")[0] or client_address
    try:
        octets = socket.inet_pton(socket.AF_INET6, client_address.partition("%")[0])
    except OSError:
        return client_address
    if octets.startswith(b"\0" * 10 + b"\xff\xff"):
        return network_of(socket.inet_ntop(socket.AF_INET, octets[12:]))
    return octets[:8].hex()


class _Place(NamedTuple):
    """A client's network, and where its address and its network are counted in every region."""

    network: str
    client_seat: int
    network_seat: int


class Crowd:
    """The connections of this process among those of all. `descriptor` is that of `share_memory(slots)`, which may be
    closed afterwards; None where this process is alone."""

    def __init__(
        self, limits: CrowdLimits = CrowdLimits(), *, slots: int = 1, slot: int = 0, descriptor: int | None = None
    ) -> None:
        self.limits = limits
        self._own = 0
        self._clients: dict[str, int] = {}
        self._networks: dict[str, int] = {}
        # Of the addresses that have connections: the network, and where both are counted.
        self._places: dict[str, _Place] = {}
        self._memory: mmap.mmap | None = None
        self._region: memoryview | None = None
        self._others: list[memoryview] = []
        if descriptor is not None:
            self._share(descriptor, slots, slot)

    def _share(self, descriptor: int, slots: int, slot: int) -> None:
        forget(descriptor, slot)
        self._memory = mmap.mmap(descriptor, HEAD_OCTETS + slots * REGION_OCTETS)
        self._key = self._memory[:KEY_OCTETS]
        whole = memoryview(self._memory)
        regions = [
            whole[start : start + REGION_OCTETS].cast("I")
            for start in range(HEAD_OCTETS, HEAD_OCTETS + slots * REGION_OCTETS, REGION_OCTETS)
        ]
        self._region = regions.pop(slot)
        self._others = regions

    def enter(self, client_address: str) -> str:
        """Count one more connection from there, "", or name the limit that keeps it out."""
        limits = self.limits
        place = self._places.get(client_address) or self._place(client_address)
        network, client_seat, network_seat = place
        own_clients = clients = self._clients.get(client_address, 0)
        own_neighbours = neighbours = self._networks.get(network, 0)
        total = self._own
        for other in self._others:
            total += other[0]
            clients += other[client_seat]
            neighbours += other[network_seat]
        if clients >= limits.per_client:
            return "client_connections"
        if neighbours >= limits.per_network:
            return "network_connections"
        if total >= limits.connections:
            return "connections"
        self._clients[client_address] = own_clients + 1
        self._networks[network] = own_neighbours + 1
        self._places[client_address] = place
        self._count(place, 1)
        return ""

    def leave(self, client_address: str) -> None:
        """One connection that had entered from there is gone."""
        place = self._places[client_address]
        _take_one(self._clients, client_address)
        _take_one(self._networks, place.network)
        if client_address not in self._clients:
            del self._places[client_address]
        self._count(place, -1)

    def _count(self, place: _Place, one: int) -> None:
        self._own += one
        if self._region is not None:
            self._region[0] = self._own
            self._region[place.client_seat] += one
            self._region[place.network_seat] += one

    def _place(self, client_address: str) -> _Place:
        network = network_of(client_address)
        if self._region is None:
            return _Place(network, 0, 0)
        return _Place(network, ADDRESSES + self._hash(client_address), NETWORKS + self._hash(network))

    def _hash(self, text: str) -> int:
        return int.from_bytes(blake2b(text.encode(), digest_size=2, key=self._key).digest(), "little")

    @property
    def total(self) -> int:
        """Connections of all processes."""
        return self._own + sum(other[0] for other in self._others)

    @property
    def share(self) -> float:
        """How much of `connections` is taken."""
        return self.total / self.limits.connections

    @property
    def is_dense(self) -> bool:
        """Whether so many connections are taken that clients must be quick."""
        return self.share >= STRESS_SHARE

    def close(self) -> None:
        """Let go of the memory. What this process had counted is taken back."""
        if self._memory is None or self._region is None:
            return
        self._region.cast("B")[:] = bytes(REGION_OCTETS)
        for region in (self._region, *self._others):
            region.release()
        self._region, self._others = None, []
        self._memory.close()


def _take_one(counts: dict[str, int], key: str) -> None:
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1
