"""Who gets in though the door is shut, and who is to come back though it is open: grace and greylisting.

It remembers who was sent away, within bounds and in memory alone (see `tries`); nothing here waits or fails. The rules
are in rules/grace.py and rules/greylist.py, the words of the replies here.

Where sessions are held in several processes a sender comes back to any of them. Each tells the others what it notes
(`tell`, `learn`): without that a sender would have to find the same process again.

The null reverse-path has a memory of its own. Once somebody forges our addresses, bounces come from everywhere, each
from another network: in the common memory they would push out everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

from fallback_mx.rules.admission import Verdict
from fallback_mx.rules.grace import REMEMBERED_SECONDS, grace
from fallback_mx.rules.greylist import KNOWN_SECONDS, may_enter
from fallback_mx.rules.neighbours import allotment_of, network_of
from fallback_mx.smtp.tries import Bounds, Tries, key_of

# When full about 40 MB where every network is another one, 30 where they are few.
TRIES = Bounds(keys=100_000, keys_of_one=1_000, seconds=REMEMBERED_SECONDS)
BOUNCES = Bounds(keys=10_000, keys_of_one=1_000, seconds=REMEMBERED_SECONDS)
KNOWN = Bounds(keys=100_000, keys_of_one=1_000, seconds=KNOWN_SECONDS)

# RFC 6647, section 5, asks for 4yz and a text that says it will pass.
GREYLISTED = "451 4.7.1 Greylisted: this recipient is not known here, please try again in some minutes"


class Memory(IntEnum):
    """What is remembered apart."""

    TRIES = 0
    BOUNCES = 1
    UNKNOWN = 2
    KNOWN = 3


class Note(NamedTuple):
    """What one process tells the others. Of bare numbers and text, so that it travels cheaply."""

    memory: int
    owner: str
    key: bytes
    moment: float


class Doors:
    """The memory of a process.

    `clock` gives seconds of a monotonic clock that is the same in every process: time.monotonic. `tell` hears of every
    note, for the others to `learn`.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        tell: Callable[[Note], None] = lambda note: None,
        *,
        tries: Bounds = TRIES,
        bounces: Bounds = BOUNCES,
        known: Bounds = KNOWN,
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._memories = {
            Memory.TRIES: Tries(tries),
            Memory.BOUNCES: Tries(bounces),
            Memory.UNKNOWN: Tries(tries),
            Memory.KNOWN: Tries(known),
        }

    def learn(self, notes: Iterable[Note]) -> None:
        """Take over what another process has noted. What is known here already stays: the first try is what counts."""
        for note in notes:
            memory = self._memories[Memory(note.memory)]
            if memory.recall(note.key, note.moment) is None:
                memory.note(note.owner, note.key, note.moment)

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
        memory = _memory_of(reverse_path)
        key = key_of(network, reverse_path, recipient)
        first_try = self._memories[memory].recall(key, now)
        if first_try is None:
            self._note(memory, client_address, key, now)
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
        is_known = self._memories[Memory.KNOWN].recall(key_of(network), now) is not None
        first_try = self._memories[Memory.UNKNOWN].recall(key, now)
        # The guard may have sent it away before the outage began.
        memory = self._memories[_memory_of(reverse_path)]
        guarded_try = memory.recall(key_of(network, reverse_path, recipient), now)
        if may_enter(is_known, (first_try, guarded_try), now, delay_seconds):
            self._get_to_know(client_address, network, now)
            return False
        if first_try is None:
            self._note(Memory.UNKNOWN, client_address, key, now)
        return True

    def _get_to_know(self, client_address: str, network: str, now: float) -> None:
        key = key_of(network)
        if self._memories[Memory.KNOWN].recall(key, now) is None:
            self._note(Memory.KNOWN, client_address, key, now)

    def _note(self, memory: Memory, client_address: str, key: bytes, now: float) -> None:
        owner = allotment_of(client_address)
        self._memories[memory].note(owner, key, now)
        self._tell(Note(memory.value, owner, key, now))


def _memory_of(reverse_path: str) -> Memory:
    return Memory.TRIES if reverse_path else Memory.BOUNCES
