"""Who gets in though the door is shut, and who is to come back though it is open: grace and greylisting.

It remembers who was sent away, within bounds and in memory alone (see `tries`); nothing here waits or fails. The rules
are in rules/grace.py and rules/greylist.py, the words of the replies here.

The null reverse-path has a memory of its own. Once somebody forges our addresses, bounces come from everywhere, each
from another network: in the common memory they would push out everybody else.
"""

from __future__ import annotations

from collections.abc import Callable

from fallback_mx.rules.admission import Verdict
from fallback_mx.rules.grace import REMEMBERED_SECONDS, grace
from fallback_mx.rules.greylist import KNOWN_SECONDS, may_enter
from fallback_mx.rules.network import allotment_of, network_of
from fallback_mx.smtp.tries import Bounds, Tries, key_of

# When full about 40 MB where every network is another one, 30 where they are few.
TRIES = Bounds(keys=100_000, keys_of_one=1_000, seconds=REMEMBERED_SECONDS)
BOUNCES = Bounds(keys=10_000, keys_of_one=1_000, seconds=REMEMBERED_SECONDS)
KNOWN = Bounds(keys=100_000, keys_of_one=1_000, seconds=KNOWN_SECONDS)

# RFC 6647, section 5, asks for 4yz and a text that says it will pass.
GREYLISTED = "451 4.7.1 Greylisted: this recipient is not known here, please try again in some minutes"


class Doors:
    """One memory for a process. `clock` gives seconds of a monotonic clock, the loop's for example."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        tries: Bounds = TRIES,
        bounces: Bounds = BOUNCES,
        known: Bounds = KNOWN,
    ) -> None:
        self._clock = clock
        self._tries = Tries(tries)
        self._bounces = Tries(bounces)
        self._unknown = Tries(tries)
        self._known = Tries(known)

    def has_grace(
        self, client_address: str, reverse_path: str, recipient: str, grace_after_seconds: float | None
    ) -> bool:
        """Whether to take this recipient though the primary is up and guards its door. If not, it is remembered.

        None for `grace_after_seconds` is: never. A recipient that is taken may be asked about again, for the rest of
        the day: to be taken is not to be committed.
        """
        if grace_after_seconds is None:
            return False
        now, network = self._clock(), network_of(client_address)
        memory = self._memory_of(reverse_path)
        key = key_of(network, reverse_path, recipient)
        first_try = memory.recall(key, now)
        if first_try is None:
            memory.note(allotment_of(client_address), key, now)
        if grace(first_try, now, grace_after_seconds) is Verdict.USE_PRIMARY:
            return False
        self._get_to_know(client_address, network, now)
        return True

    def must_come_back(
        self, client_address: str, reverse_path: str, recipient: str, delay_seconds: float | None
    ) -> bool:
        """Whether an unknown recipient is to be answered with GREYLISTED. None for `delay_seconds` is: never."""
        if delay_seconds is None:
            return False
        now, network = self._clock(), network_of(client_address)
        key = key_of(network, recipient)
        is_known = self._known.recall(key_of(network), now) is not None
        first_try = self._unknown.recall(key, now)
        # The guard may have sent it away before the outage began.
        guarded_try = self._memory_of(reverse_path).recall(key_of(network, reverse_path, recipient), now)
        if may_enter(is_known, (first_try, guarded_try), now, delay_seconds):
            if not is_known:
                self._get_to_know(client_address, network, now)
            return False
        if first_try is None:
            self._unknown.note(allotment_of(client_address), key, now)
        return True

    def _memory_of(self, reverse_path: str) -> Tries:
        return self._tries if reverse_path else self._bounces

    def _get_to_know(self, client_address: str, network: str, now: float) -> None:
        self._known.note(allotment_of(client_address), key_of(network), now)
