"""A disk that does as it is told, for one directory and the processes that are started with `environment`.

`disk.c` is compiled into a library that stands between such a process and libc's file calls; what is wanted of it and
what it has seen are in a page of memory that is shared with this object.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).with_name("disk.c")
_OCTETS = 4096


def compile_library(scratch: Path) -> Path:
    """The library, made by gcc. Raises FileNotFoundError where there is none."""
    library = scratch / "disk.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


class Disk:
    """`directory` as the processes see it. With a journal, what a power cut leaves can be worked out (power.py)."""

    def __init__(self, library: Path, directory: Path, scratch: Path, *, journal: bool = False) -> None:
        self.directory = directory
        self.journal = scratch / "journal" if journal else None
        control = scratch / "control"
        control.write_bytes(bytes(_OCTETS))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _OCTETS)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKE_DISK_CONTROL": str(control),
            "FAKE_DISK_DIRECTORY": str(directory),
            **({"FAKE_DISK_JOURNAL": str(self.journal)} if self.journal else {}),
        }

    def fail_a_sync(self, error: int, of: Path | None = None) -> None:
        """The next sync, of this file or of any, fails with this; those after it work: the kernel has said it once."""
        struct.pack_into("Q", self._control, 16, of.stat().st_ino if of is not None else 0)
        struct.pack_into("II", self._control, 0, error, 1)

    def refuse_changes(self, error: int) -> None:
        """Whatever would change a file or make one fails with this, until 0 is given."""
        struct.pack_into("I", self._control, 8, error)

    @contextlib.contextmanager
    def syncs_held(self) -> Iterator[None]:
        """Inside, no sync ends."""
        struct.pack_into("I", self._control, 12, 1)
        try:
            yield
        finally:
            struct.pack_into("I", self._control, 12, 0)

    @property
    def syncs(self) -> int:
        """Those that have begun."""
        return self._counter(0)

    @property
    def syncs_failed(self) -> int:
        return self._counter(1)

    @property
    def syncs_waiting(self) -> int:
        return self._counter(2)

    @property
    def position(self) -> int:
        """How many records the journal has."""
        return self._counter(3)

    def _counter(self, number: int) -> int:
        (value,) = struct.unpack_from("Q", self._control, 24 + 8 * number)
        return int(value)
