"""Ports for servers of the tests."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def _candidates() -> Iterator[int]:
    """Ports below those that the kernel gives to connections, a range for each of several test processes."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 12_000 + worker % 5 * 4_000
    start = os.getpid() * 7 % 4_000
    for step in itertools.cycle(range(4_000)):
        yield first + (start + step) % 4_000


_ports = _candidates()


@cache
def _claims() -> int:
    """A file of which test process holds the octet of each port that it was given, for as long as it lives."""
    return os.open(Path(tempfile.gettempdir()) / f"test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT, 0o600)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that no other test gets while its server is away."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            probe.bind(("127.0.0.1", port))
            return port
