"""Small file systems of a test's own: they can be full, have no inodes left, be cut off, and turn read-only.

Only root may mount, and not on every machine: `CannotMount` says what is missing.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: no more writes, and what is not yet on the disk never will be
_WITHOUT_THE_LOG = struct.pack("I", 2)


class CannotMount(Exception):
    """What a skipped test says."""


def _run(*command: str | Path) -> None:
    if os.geteuid() != 0:
        raise CannotMount("mounting a file system needs root")
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise CannotMount(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        raise CannotMount(f"this machine does not let root do it: {done.stderr.strip()}")


class SmallDisk:
    """A tmpfs."""

    def __init__(self, directory: Path, megabytes: int, inodes: int) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"
        directory.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes={inodes}", "tmpfs", directory)

    def fill(self, leave: int) -> None:
        """Take what is free but for so many octets."""
        free = os.statvfs(self.directory)
        self._ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))

    def take_the_inodes(self) -> None:
        self._ballast.mkdir()
        try:
            for number in range(os.statvfs(self.directory).f_files):
                (self._ballast / str(number)).touch()
        except OSError:
            return

    def empty(self) -> None:
        """What was taken is free again."""
        if self._ballast.is_dir():
            for each in self._ballast.iterdir():
                each.unlink()
            self._ballast.rmdir()
        else:
            self._ballast.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self.directory], check=True)


class LoopDisk:
    """An ext4 in a file; a fault of its own makes it read-only."""

    def __init__(self, scratch: Path, megabytes: int = 96) -> None:
        self.directory = scratch / "ext4"
        self._image = scratch / "image"
        self.directory.mkdir()
        with self._image.open("wb") as image:
            image.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", self._image)
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", self._image, self.directory)

    def cut_off(self) -> None:
        """From now on nothing reaches the disk: what power loss does, and the kernel still answers."""
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _WITHOUT_THE_LOG)
        finally:
            os.close(descriptor)

    def break_down(self) -> None:
        """The kernel finds an error and makes it read-only."""
        device = self.directory.stat().st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        trigger = Path("/sys/fs/ext4") / name / "trigger_fs_error"
        try:
            trigger.write_text("a test\n")
        except OSError as error:
            raise CannotMount(f"{trigger}: {error.strerror}") from None

    def mount_again(self) -> None:
        """As after a reboot: nobody may have it open."""
        _run("umount", self.directory)
        # 1: errors were there and are no more.
        assert subprocess.run(["e2fsck", "-p", self._image], capture_output=True, check=False).returncode in (0, 1)
        self._mount()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self.directory], check=True)
