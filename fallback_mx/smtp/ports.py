"""The ports that are listened on. One process opens them, and hands them to every other that accepts on them.

Several processes listen on one address with a socket each (SO_REUSEPORT): the kernel spreads connections over them.
One socket for all would go to whoever is awake, and that is always the same one. Nobody else's service gets in between:
the first socket is bound without that option, which fails where anything listens.

A port is tried for a moment longer than it takes: a service that was killed may leave it to its accepting processes,
which notice and end within that time.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

BACKLOG = 1024
PATIENCE_SECONDS = 2.0
RETRY_SECONDS = 0.05


def open_ports(host: str, port: int, processes: int = 1) -> list[list[socket.socket]]:
    """Sockets on every address that this host and port stand for: for each address one a process. Raises OSError.

    They listen already. A port of 0 is chosen by the system, once for each address.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[list[socket.socket]] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            sockets: list[socket.socket] = []
            opened.append(sockets)
            sockets.append(_bind_first(family, address))
            sockets.extend(_bind_again(sockets[0]) for _ in range(processes - 1))
            for one in sockets:
                one.listen(BACKLOG)
    except OSError:
        for sockets in opened:
            for one in sockets:
                one.close()
        raise
    return opened


def _bind_first(family: int, address: Any) -> socket.socket:
    one = _socket(family)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            one.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                one.close()
                raise
            time.sleep(RETRY_SECONDS)
        else:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            return one


def _bind_again(first: socket.socket) -> socket.socket:
    one = _socket(first.family)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(first.getsockname())
    except OSError:
        one.close()
        raise
    return one


def _socket(family: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # [::] is IPv6 alone: 0.0.0.0 is an address of its own.
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.setblocking(False)
    return one
