"""What a power cut leaves of a directory, worked out from a disk's journal (disk.py) for any moment of it.

What was synced is there. Of what was written to a file after that each piece is there or not, or only some sectors of
it are (SQLite's own crash tests do the same); files made or removed since the directory was synced may be as before.
What was lost when a sync failed is never there, whatever syncs succeed later: the kernel takes it for written.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

_HEAD = struct.Struct("IIQQ")
SECTOR = 512


class Kind(IntEnum):
    CREATE = 1
    UNLINK = 2
    WRITE = 3
    TRUNCATE = 4
    SYNC = 5
    SYNC_DIRECTORY = 6
    LOST = 7


@dataclass(frozen=True, slots=True)
class Record:
    position: int
    kind: Kind
    inode: int
    number: int
    octets: bytes


def read(journal: Path) -> list[Record]:
    return list(_records(journal.read_bytes()))


def _records(octets: bytes) -> Iterator[Record]:
    start = position = 0
    while start < len(octets):
        kind, length, inode, number = _HEAD.unpack_from(octets, start)
        start += _HEAD.size
        yield Record(position, Kind(kind), inode, number, octets[start : start + length])
        start += length
        position += 1


@dataclass(slots=True, eq=False)
class _File:
    """What of it is on the disk, and what was written since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Record] = field(default_factory=list)


class Platter:
    """The disk under a directory, as the journal is played to it record by record.

    `before` is a directory as it is before the journal begins, with everything on the disk.
    """

    def __init__(self, before: Path | None = None) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[str, _File] = {}
        self._pending: list[tuple[int, str, _File | None]] = []
        for path in before.iterdir() if before is not None else ():
            file = _File(bytearray(path.read_bytes()))
            self._files[path.stat().st_ino] = self._names[path.name] = file

    def play(self, record: Record) -> None:
        match record.kind:
            case Kind.CREATE:
                file = self._files[record.inode] = _File()
                self._pending.append((record.position, record.octets.decode(), file))
            case Kind.UNLINK:
                self._pending.append((record.position, record.octets.decode(), None))
            case Kind.WRITE | Kind.TRUNCATE:
                self._files[record.inode].pending.append(record)
            case Kind.SYNC:
                self._sync(self._files[record.inode], record.number)
            case Kind.LOST if record.inode in self._files:
                file = self._files[record.inode]
                file.pending = [each for each in file.pending if each.position >= record.number]
            case Kind.SYNC_DIRECTORY:
                for position, name, found in self._pending:
                    if position < record.number:
                        _enter(self._names, name, found)
                self._pending = [each for each in self._pending if each[0] >= record.number]

    @staticmethod
    def _sync(file: _File, began_at: int) -> None:
        for each in file.pending:
            if each.position < began_at:
                _apply(file.durable, each)
        file.pending = [each for each in file.pending if each.position >= began_at]

    def after_a_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files by name, as they may be found when power is back."""
        names = dict(self._names)
        # A file system keeps the order of such changes: the later ones are the ones that are gone.
        for _, name, file in self._pending[: chance.randint(0, len(self._pending))]:
            _enter(names, name, file)
        return {name: _left_of(file, chance) for name, file in names.items()}


def _enter(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


def _left_of(file: _File, chance: random.Random) -> bytes:
    left = bytearray(file.durable)
    kept = chance.choice([0.0, 0.5, 0.9, 1.0])
    for record in file.pending:
        if chance.random() < kept:
            _apply(left, record)
        elif record.kind is Kind.WRITE and chance.random() < 0.5:
            _apply_some_sectors(left, record, chance)
    return bytes(left)


def _apply(content: bytearray, record: Record) -> None:
    if record.kind is Kind.TRUNCATE:
        del content[record.number :]
        content.extend(bytes(record.number - len(content)))
    else:
        _put(content, record.number, record.octets)


def _apply_some_sectors(content: bytearray, record: Record, chance: random.Random) -> None:
    end = record.number + len(record.octets)
    start = record.number
    while start < end:
        stop = min(end, start - start % SECTOR + SECTOR)
        if chance.random() < 0.5:
            _put(content, start, record.octets[start - record.number : stop - record.number])
        start = stop


def _put(content: bytearray, offset: int, octets: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(octets)] = octets
