"""A set of list entries in eight octets each: a million of them are 8 MB, where Python's own set takes hundreds.

Two of a million entries have the same fingerprint in one list of some thirty million; what then happens is that one new
address is not taken up.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b

_OCTETS = 8


def fingerprint_of(domain: str, local: str) -> int:
    digest = blake2b(f"{local}@{domain}".encode("utf-8", "surrogatepass"), digest_size=_OCTETS).digest()
    return int.from_bytes(digest, "big")


class Fingerprints:
    """Add to it, then `seal` it, then ask it."""

    def __init__(self) -> None:
        self._sorted: array[int] = array("Q")

    def add(self, one: int) -> None:
        self._sorted.append(one)

    def seal(self) -> None:
        once = array("Q")
        last = -1
        for each in sorted(self._sorted):
            if each != last:
                once.append(each)
            last = each
        self._sorted = once

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, one: int) -> bool:
        index = bisect_left(self._sorted, one)
        return index < len(self._sorted) and self._sorted[index] == one
