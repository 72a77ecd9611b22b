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
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from sqlalchemy import Connection

from fallback_mx.recipients import records
from fallback_mx.recipients.book import Run
from fallback_mx.recipients.fingerprints import Fingerprints
from fallback_mx.recipients.lines import BadLine, Entry, Reading, entries, lines_of
from fallback_mx.recipients.records import ListState, Which
from fallback_mx.recipients.sources import Copy, Limits, Source, SourceFailed
from fallback_mx.rules.recipients import why_suspicious
from mxqueue.pieces import PAUSE_SECONDS

PIECE = 1000
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
        with tempfile.SpooledTemporaryFile(MEMORY_OCTETS) as spool:
            source.copy(Copy(spool, self._limits, self._is_stopping))
            return self._take(spool, source.origin, order)

    def drop(self, primary: str) -> bool:
        """Let a list count no more, then remove its rows. Whether there was one."""
        was_there = self._submit(lambda connection: records.drop_list_state(connection, primary)).result()
        self._in_pieces(self._on_record(primary), lambda c, piece: records.remove_listed(c, primary, piece))
        return was_there

    def _take(self, spool: IO[bytes], origin: str, order: Order) -> Imported:
        fingerprint = _fingerprint_of(spool, order.domains)
        state = self._read(lambda connection: records.list_state(connection, order.primary)).result()
        if state is not None and state.fingerprint == fingerprint:
            self._submit(lambda connection: records.confirm_list(connection, order.primary, order.now)).result()
            return Imported(state.addresses, 0, 0, is_unchanged=True)
        reading = Reading()
        wanted = Fingerprints()
        for entry in self._entries(spool, order, reading):
            wanted.add(*entry)
        wanted.seal()
        reason = why_suspicious(state.addresses if state is not None else 0, len(wanted), reading.bad_count)
        if reason is not None and not order.force:
            first = f" ({reading.bad[0]})" if reading.bad else ""
            raise Suspicious(reason + first)
        generation = state.generation + 1 if state is not None else 1
        added, removed = self._change(spool, order, wanted, generation)
        new = ListState(order.primary, origin, generation, len(wanted), fingerprint, order.now, order.now)
        if not self._submit(lambda connection: records.put_list_state(connection, new)).result():
            raise SourceFailed("another list was imported at the same time", "Nothing to do: it is read again.")
        return Imported(len(wanted), added, removed, tuple(reading.bad), reading.bad_count, reading.foreign_count)

    def _change(self, spool: IO[bytes], order: Order, wanted: Fingerprints, generation: int) -> tuple[int, int]:
        """Write the difference; how many were added and removed."""
        there = Fingerprints()
        for entry in self._on_record(order.primary):
            there.add(*entry)
        there.seal()
        new = (entry for entry in self._entries(spool, order, Reading()) if not there.has(*entry))
        self._in_pieces(new, lambda c, piece: records.add_listed(c, order.primary, generation, piece))
        old = (entry for entry in self._on_record(order.primary) if not wanted.has(*entry))
        removed = self._in_pieces(old, lambda c, piece: records.remove_listed(c, order.primary, piece))
        return len(wanted) - (len(there) - removed), removed

    @staticmethod
    def _entries(spool: IO[bytes], order: Order, reading: Reading) -> Iterator[Entry]:
        return entries(lines_of(spool), order.domains, reading)

    def _on_record(self, primary: str) -> Iterator[Entry]:
        after: tuple[str, str, str] | None = None
        while page := self._page(primary, after):
            yield from ((domain, local) for _, domain, local in page)
            after = page[-1]

    def _page(self, primary: str, after: tuple[str, str, str] | None) -> list[tuple[str, str, str]]:
        return self._read(lambda c: records.page_of_listed(c, Which(primary), after, PAGE)).result()

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


def _fingerprint_of(spool: IO[bytes], domains: Collection[str]) -> str:
    """Changes when the list does, and when other domains of it are ours."""
    digest = hashlib.sha256("\n".join(sorted(domains)).encode() + b"\n\n")
    spool.seek(0)
    while block := spool.read(MEMORY_OCTETS):
        digest.update(block)
    return digest.hexdigest()
