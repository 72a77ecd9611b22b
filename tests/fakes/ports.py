"""Ports for servers of the tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator


def _candidates() -> Iterator[int]:
    """Ports below those that the kernel gives to connections, a range for each of several test processes."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 12_000 + worker % 5 * 4_000
    start = os.getpid() * 7 % 4_000
    for step in itertools.cycle(range(4_000)):
        yield first + (start + step) % 4_000


_ports = _candidates()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that nobody gets by chance while its server is away."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
