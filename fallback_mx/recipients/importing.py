"""A list on its way into the database: judged as a whole, then written as the difference to what is there.

Nothing is changed before the whole list has been read and found believable. Then additions are written, removals
after them, and last the list's state, piece by piece, so that mail goes in between (see mxqueue.pieces). Whoever looks
meanwhile, or after a kill half-way, finds the old list with some of the new addresses beside it: a recipient may be
taken too early, never refused too early. The next import makes it whole.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from sqlalchemy import Connection

from fallback_mx.recipients import listed
from fallback_mx.recipients.book import Run
from fallback_mx.recipients.fingerprints import Fingerprints, fingerprint_of
from fallback_mx.recipients.lines import BadLine, Entry, Reading, entries, lines_of
from fallback_mx.recipients.listed import ListState
from fallback_mx.recipients.records import Which
from fallback_mx.recipients.sources import Copy, Limits, Source, SourceFailed
from fallback_mx.rules.recipients import why_suspicious
from mxqueue.pieces import PAUSE_SECONDS

PIECE = 2000
PAGE = 10_000
# A list of some thousand addresses stays in memory.
MEMORY_OCTETS = 1024 * 1024


class Suspicious(SourceFailed):
    """The list would undo the one that is there. That one is kept."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}; the old list is kept",
            "Look at the list. If it is right: fallback-mx recipients import --force.",
        )


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a list. `bad` names the first bad lines. An unchanged list has been confirmed, no more."""

    addresses: int
    added: int
    removed: int
    bad: tuple[BadLine, ...] = ()
    bad_count: int = 0
    foreign_count: int = 0
    is_unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """Which list is to be imported: `force` takes it whatever it would undo."""

    primary: str
    domains: frozenset[str]
    now: datetime
    force: bool = False


@dataclass(slots=True)
class _Comparison:
    """A list against what is on record: what it wants, what is there, and what is new."""

    wanted: Fingerprints = field(default_factory=Fingerprints)
    there: Fingerprints = field(default_factory=Fingerprints)
    new: Fingerprints = field(default_factory=Fingerprints)
    reading: Reading = field(default_factory=Reading)


class Importer:
    """Imports lists into one database. Blocks; `is_stopping` ends it between two pieces."""

    def __init__(
        self, submit: Run, read: Run, is_stopping: Callable[[], bool] = lambda: False, limits: Limits | None = None
    ) -> None:
        self._submit = submit
        self._read = read
        self._is_stopping = is_stopping
        self._limits = limits or Limits()

    def take(self, source: Source, order: Order) -> Imported:
        """Read the source and make its list the primary's. Raises SourceFailed (Suspicious), QueueError."""
        try:
            with tempfile.SpooledTemporaryFile(MEMORY_OCTETS) as spool:
                source.copy(Copy(spool, self._limits, self._is_stopping))
                return self._take(spool, source.origin, order)
        except OSError as error:
            raise SourceFailed(f"no room to read it: {error.strerror}", f"Look at {tempfile.gettempdir()}.") from None

    def drop(self, primary: str) -> bool:
        """Let a list count no more, then remove its rows. Whether there was one."""
        was_there = self._submit(lambda connection: listed.drop_list_state(connection, primary)).result()
        self._in_pieces(self._on_record(primary), lambda c, piece: listed.remove_listed(c, primary, piece))
        return was_there

    def _take(self, spool: IO[bytes], origin: str, order: Order) -> Imported:
        fingerprint = _whole_fingerprint(spool, order.domains)
        state = self._read(lambda connection: listed.list_state(connection, order.primary)).result()
        if state is not None and state.fingerprint == fingerprint:
            self._submit(lambda connection: listed.confirm_list(connection, order.primary, order.now)).result()
            return Imported(state.addresses, 0, 0, is_unchanged=True)
        with tempfile.SpooledTemporaryFile(MEMORY_OCTETS) as new:
            comparison = self._compare(spool, new, order)
            reading = comparison.reading
            reason = why_suspicious(
                state.addresses if state is not None else 0, len(comparison.wanted), reading.bad_count
            )
            if reason is not None and not order.force:
                raise Suspicious(f"{reason} ({reading.bad[0]})" if reading.bad else reason)
            generation = state.generation + 1 if state is not None else 1
            self._in_pieces(_unpacked(new), lambda c, piece: listed.add_listed(c, order.primary, generation, piece))
        removed = self._remove(order.primary, comparison)
        size = len(comparison.wanted)
        state = ListState(order.primary, origin, generation, size, fingerprint, order.now, order.now)
        if not self._submit(lambda connection: listed.put_list_state(connection, state)).result():
            raise SourceFailed("another list was imported at the same time", "Nothing to do: it is read again.")
        added = len(comparison.new)
        return Imported(size, added, removed, tuple(reading.bad), reading.bad_count, reading.foreign_count)

    def _compare(self, spool: IO[bytes], new: IO[bytes], order: Order) -> _Comparison:
        """Read the list to its end; what is not on record is copied to `new`."""
        found = _Comparison()
        for entry in self._on_record(order.primary):
            found.there.add(fingerprint_of(*entry))
        found.there.seal()
        for entry in entries(lines_of(spool), order.domains, found.reading):
            one = fingerprint_of(*entry)
            found.wanted.add(one)
            if one not in found.there:
                found.new.add(one)
                new.write(_packed(entry))
        found.wanted.seal()
        found.new.seal()
        return found

    def _remove(self, primary: str, comparison: _Comparison) -> int:
        """Remove what is on record and no longer listed; how many."""
        kept = len(comparison.wanted) - len(comparison.new)
        if kept == len(comparison.there):
            return 0
        old = (entry for entry in self._on_record(primary) if fingerprint_of(*entry) not in comparison.wanted)
        return self._in_pieces(old, lambda c, piece: listed.remove_listed(c, primary, piece))

    def _on_record(self, primary: str) -> Iterator[Entry]:
        after: tuple[str, str, str] | None = None
        while page := self._page(primary, after):
            yield from ((domain, local) for _, domain, local in page)
            after = page[-1]

    def _page(self, primary: str, after: tuple[str, str, str] | None) -> list[tuple[str, str, str]]:
        return self._read(lambda c: listed.page_of_listed(c, Which(primary), after, PAGE)).result()

    def _in_pieces(self, found: Iterable[Entry], apply: Callable[[Connection, list[Entry]], None]) -> int:
        """Apply to all that is found, a transaction a piece. How many it were."""
        total = 0
        left = iter(found)
        while piece := list(itertools.islice(left, PIECE)):
            if self._is_stopping():
                raise SourceFailed("the service is stopping", "It is read again at the next start.")
            if total:
                time.sleep(PAUSE_SECONDS)
            self._submit(lambda connection, piece=piece: apply(connection, piece)).result()  # type: ignore[misc]
            total += len(piece)
        return total


def _packed(entry: Entry) -> bytes:
    return f"{entry[1]} {entry[0]}\n".encode()


def _unpacked(packed: IO[bytes]) -> Iterator[Entry]:
    packed.seek(0)
    for line in packed:
        # A quoted local part may hold blanks, a domain holds none.
        local, _, domain = line[:-1].decode().rpartition(" ")
        yield domain, local


def _whole_fingerprint(spool: IO[bytes], domains: Collection[str]) -> str:
    """Changes when the list does, and when other domains of it are ours."""
    digest = hashlib.sha256("\n".join(sorted(domains)).encode() + b"\n\n")
    spool.seek(0)
    while block := spool.read(MEMORY_OCTETS):
        digest.update(block)
    return digest.hexdigest()
