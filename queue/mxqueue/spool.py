"""Where content waits between the wire and the commit, and how it comes back out.

A `Spool` keeps up to 1 MiB in memory and the rest in a file that has no name: whatever happens to the process,
nothing is left behind. Spools that share a `SpoolMemory` keep no more than that in memory together: beyond it they go
to their files earlier, and nobody has to wait for anybody. A `StoredContent` is read piece by piece and is checked
against the hash it was accepted with before its last piece is handed out, so that damaged mail is noticed before
anybody is told it is whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mxqueue.errors import Damaged
from mxqueue.model import CHUNK_SIZE

MEMORY_LIMIT = CHUNK_SIZE


class SpoolMemory:
    """How many octets of content may be in memory, and how many are. One thread writes and closes its spools."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Spool:
    """Content as it arrives. `write` raises OSError when the disk under `directory` is full."""

    def __init__(self, directory: Path | None = None, memory: SpoolMemory | None = None) -> None:
        self._directory = directory
        self._memory = memory
        self._held = 0
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._hash: Any = None
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._file is None:
            self._pieces.append(data)
            if self.size <= MEMORY_LIMIT and self._hold(len(data)):
                return
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115  # it lives as long as the spool
            self._hash = sha256()
            data = b"".join(self._pieces)
            self._let_go()
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    @property
    def sha256(self) -> bytes:
        # What fits in memory is hashed when somebody asks: the writer's thread, and not the one that reads the wire.
        return self._hash.digest() if self._file is not None else sha256(self.octets).digest()

    def chunks(self) -> Iterator[bytes]:
        if self._file is not None:
            yield from _read_file(self._file.fileno(), self.size)
        elif self._pieces:
            yield self.octets

    @property
    def octets(self) -> bytes:
        """What is in memory: everything, until it goes to a file."""
        return b"".join(self._pieces)

    @property
    def descriptor(self) -> int | None:
        """The file's, None while everything is in memory."""
        return None if self._file is None else self._file.fileno()

    def _hold(self, octets: int) -> bool:
        """Whether so many more may stay in memory."""
        memory = self._memory
        if memory is not None:
            if memory.used + octets > memory.limit:
                return False
            memory.used += octets
            self._held += octets
        return True

    def _let_go(self) -> None:
        self._pieces.clear()
        if self._memory is not None:
            self._memory.used -= self._held
            self._held = 0

    def close(self) -> None:
        self._let_go()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_file(descriptor: int, size: int) -> Iterator[bytes]:
    for offset in range(0, size, CHUNK_SIZE):
        wanted = min(CHUNK_SIZE, size - offset)
        piece = os.pread(descriptor, wanted, offset)
        while len(piece) < wanted:
            more = os.pread(descriptor, wanted - len(piece), offset + len(piece))
            if not more:
                raise OSError(f"the spool ends at {offset + len(piece)} of {size} octets")
            piece += more
        yield piece


class FileContent:
    """Content that another process has spooled, known by the descriptor it handed over. `close` closes that."""

    def __init__(self, descriptor: int, size: int, digest: bytes) -> None:
        self._descriptor = descriptor
        self.size = size
        self.sha256 = digest

    def chunks(self) -> Iterator[bytes]:
        return _read_file(self._descriptor, self.size)

    def close(self) -> None:
        os.close(self._descriptor)


class BytesContent:
    """Content that is already whole in memory; `digest` is its SHA-256 where somebody has worked that out before."""

    def __init__(self, data: bytes, digest: bytes | None = None) -> None:
        self._data = data
        self.size = len(data)
        self.sha256 = sha256(data).digest() if digest is None else digest

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, self.size, CHUNK_SIZE):
            yield self._data[start : start + CHUNK_SIZE]


class StoredContent:
    """Content as it lies in the queue. `read(position)` fetches one chunk; None means there is no such chunk."""

    def __init__(self, message_id: str, size: int, digest: bytes, read: Callable[[int], bytes | None]) -> None:
        self.message_id = message_id
        self.size = size
        self.sha256 = digest
        self._read = read

    def chunks(self) -> Iterator[bytes]:
        """The octets in order. Raises Damaged in place of the last piece if they are not those accepted."""
        digest = sha256()
        seen = 0
        last = (self.size - 1) // CHUNK_SIZE
        for position in range(last + 1):
            piece = self._read(position)
            if piece is None:
                raise Damaged(f"{self.message_id}: chunk {position} is missing")
            digest.update(piece)
            seen += len(piece)
            if position == last and seen != self.size:
                raise Damaged(f"{self.message_id}: {seen} octets stored of {self.size}")
            if position == last and digest.digest() != self.sha256:
                raise Damaged(f"{self.message_id}: content does not match its hash")
            yield piece

    def as_stored(self) -> Iterator[bytes]:
        """What is there, unchecked: for looking at damaged mail."""
        for position in range((self.size + CHUNK_SIZE - 1) // CHUNK_SIZE):
            yield self._read(position) or b""
