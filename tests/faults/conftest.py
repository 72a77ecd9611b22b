"""Disks that fail on purpose. What needs gcc or root says so where it is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.disk import Disk, compile_library
from tests.fakes.mount import CannotMount, LoopDisk, SmallDisk


@pytest.fixture(scope="session")
def disk_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("the Debian packages gcc and libc6-dev are not installed")
    return compile_library(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def make_disk(disk_library: Path, tmp_path: Path) -> Callable[..., Disk]:
    """Makes the disk under a new directory; `journal=True` for what a power cut leaves of it."""

    def make(*, journal: bool = False) -> Disk:
        directory = tmp_path / "disk"
        directory.mkdir()
        return Disk(disk_library, directory, tmp_path, journal=journal)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of 48 MiB and few inodes."""
    try:
        disk = SmallDisk(tmp_path / "small", megabytes=48, inodes=200)
    except CannotMount as error:
        pytest.skip(str(error))
    yield disk
    disk.close()


@pytest.fixture
def loop_disk(tmp_path: Path) -> Iterator[LoopDisk]:
    """An ext4 of 96 MiB that can be cut off and can break down."""
    try:
        disk = LoopDisk(tmp_path)
    except CannotMount as error:
        pytest.skip(str(error))
    yield disk
    disk.close()
