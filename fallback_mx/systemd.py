"""What the service tells its manager: ready, reloading, stopping, still alive (sd_notify(3)).

Without NOTIFY_SOCKET nothing is sent. A manager that does not listen is no reason to fail.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(*lines: str) -> None:
    """Send these lines, such as "READY=1", as one message."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto("\n".join(lines).encode(), address)


def reloading() -> None:
    """The configuration is being read again; `notify("READY=1")` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """How often a sign of life is wanted (half of what the manager allows), None where it is not."""
    allowed_usec = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not allowed_usec.isdigit() or (owner and owner != str(os.getpid())):
        return None
    return int(allowed_usec) / 1_000_000 / 2
