"""How much memory a family of processes has, told in two ways that never agree.

`Resident.pss` counts a page that several processes share once in all (each is charged its part): what the machine has
given. `Resident.rss` adds up what each process shows in `ps`, so that the interpreter and its libraries, which are
there once, count once for each process: never too little. `peak_rss` adds up the highest that each has ever been at,
which need not have been at the same moment.
"""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.relay import family

MB = 1_000_000
EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class Resident:
    """In MB, at one moment."""

    rss: float
    pss: float


def resident(pid: int) -> Resident:
    """Of this process and all its descendants. A process that ends while it is asked counts as nothing."""
    rss = pss = 0.0
    for member in family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = Path(f"/proc/{member}/smaps_rollup").read_text()
            rss += _field("Rss", text)
            pss += _field("Pss", text)
    return Resident(rss, pss)


def peak_rss(pid: int) -> float:
    """In MB, since they were started; see the module."""
    return sum(_field("VmHWM", Path(f"/proc/{member}/status").read_text()) for member in family(pid))


def _field(name: str, text: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, f"no {name} in {text[:200]!r}"
    return int(found[1]) * 1024 / MB


class Watch:
    """Looks twenty times a second, and keeps the most there was at one moment."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most = Resident(0, 0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            now = resident(self._pid)
            self.most = Resident(max(self.most.rss, now.rss), max(self.most.pss, now.pss))
            if self._over.wait(EVERY_SECONDS):
                return
