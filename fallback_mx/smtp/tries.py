"""What is remembered of those who were sent away: when each first tried.

It lives in memory and is lost with it: that costs a sender one retry more. It is bounded in all, and in what any one
client can put into it, so that nobody pushes out the rest. Where room is short the oldest goes. A key is a digest: long
addresses take no more room than short ones, and nobody's address is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

KEY_OCTETS = 16


def key_of(*parts: str) -> bytes:
    """One key for these parts; capitals make no difference."""
    digest = blake2b(digest_size=KEY_OCTETS)
    for part in parts:
        octets = part.lower().encode("utf-8", "surrogatepass")
        digest.update(len(octets).to_bytes(4) + octets)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is remembered: keys in all, keys of one owner, and for how long."""

    keys: int
    keys_of_one: int
    seconds: float


class Tries:
    """First moments by key. An owner is whoever a key counts against: a client's allotment of addresses."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        # Both in the order of their moments: a key that is noted anew goes to the end. What is dropped is almost always
        # the first of its list, and a list takes a third of the room of a dict.
        self._moments: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._keys_of: dict[str, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._moments)

    def recall(self, key: bytes, now: float) -> float | None:
        """The moment noted for this key, None where there is none or it is too long ago."""
        found = self._moments.get(key)
        return found[0] if found is not None and now - found[0] < self._bounds.seconds else None

    def note(self, owner: str, key: bytes, now: float) -> None:
        """Remember this key as of now, whatever was known of it before."""
        self._drop(key)
        self._drop_the_old(now)
        own = self._keys_of.get(owner)
        if own is not None and len(own) >= self._bounds.keys_of_one:
            self._drop(own[0])
        elif len(self._moments) >= self._bounds.keys:
            self._drop(next(iter(self._moments)))
        self._moments[key] = (now, owner)
        self._keys_of.setdefault(owner, []).append(key)

    def _drop_the_old(self, now: float) -> None:
        while self._moments:
            key = next(iter(self._moments))
            if now - self._moments[key][0] < self._bounds.seconds:
                return
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        found = self._moments.pop(key, None)
        if found is None:
            return
        own = self._keys_of[found[1]]
        own.remove(key)
        if not own:
            del self._keys_of[found[1]]
