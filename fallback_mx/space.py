"""Whether the disk has room for more mail: below the floor a sender is told 452 before it sends anything."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

FRESH_SECONDS = 1.0


class Space:
    """Free octets on the file system of `directory`, looked up once a second at most."""

    def __init__(self, directory: Path, floor_octets: int) -> None:
        self._directory = directory
        self.floor_octets = floor_octets
        self._free = 0
        self._looked_at = -FRESH_SECONDS

    @property
    def free_octets(self) -> int:
        """0 where the file system cannot be asked."""
        now = time.monotonic()
        if now - self._looked_at >= FRESH_SECONDS:
            self._looked_at = now
            try:
                self._free = shutil.disk_usage(self._directory).free
            except OSError:
                self._free = 0
        return self._free

    def has_room(self, octets: int) -> bool:
        """Whether a message of this size leaves the floor free. A message is on disk twice while it is committed."""
        return self.free_octets - 2 * octets >= self.floor_octets

    def describe(self) -> str:
        return f"{self.free_octets // 1_000_000} MB free, {self.floor_octets // 1_000_000} MB are kept free"
