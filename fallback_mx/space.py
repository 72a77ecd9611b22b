"""Whether the disk has room for more mail: below the floor a sender is told 452 before it sends anything.

A file system may be out of inodes with all its octets free. Small mail needs none; what is spooled in a file does.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

FRESH_SECONDS = 1.0
WITHOUT_A_FILE_OCTETS = 1024 * 1024  # what a spool keeps in memory


class Space:
    """Free octets on the file system of `directory`, looked up once a second at most."""

    def __init__(self, directory: Path, floor_octets: int) -> None:
        self._directory = directory
        self.floor_octets = floor_octets
        self._free = 0
        self._takes_files = False
        self._looked_at = -FRESH_SECONDS

    @property
    def free_octets(self) -> int:
        """0 where the file system cannot be asked."""
        self._look()
        return self._free

    @property
    def takes_files(self) -> bool:
        """Whether a file can be made there: the file system has an inode left, or does not count them."""
        self._look()
        return self._takes_files

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < FRESH_SECONDS:
            return
        self._looked_at = now
        try:
            found = os.statvfs(self._directory)
        except OSError:
            self._free, self._takes_files = 0, False
        else:
            self._free = found.f_bavail * found.f_frsize
            self._takes_files = found.f_favail > 0 or found.f_files == 0

    def has_room(self, octets: int) -> bool:
        """Whether a message of this size leaves the floor free. A message is on disk twice while it is committed."""
        if octets > WITHOUT_A_FILE_OCTETS and not self.takes_files:
            return False
        return self.free_octets - 2 * octets >= self.floor_octets

    def describe(self) -> str:
        if not self.takes_files:
            return "no inode is free"
        return f"{self.free_octets // 1_000_000} MB free, {self.floor_octets // 1_000_000} MB are kept free"
