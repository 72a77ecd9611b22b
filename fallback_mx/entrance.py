"""Listening sockets, and when they rest: a process that is almost out of file descriptors takes no more connections.

An event loop that is told of a connection and cannot accept it is told again at once, for ever. Here nothing is
accepted while fewer descriptors are free than the reserve, which is for files, database and deliveries: who connects
waits in the kernel's queue. It is looked at once a second, so a rush can still use up everything for that long.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from fallback_mx import maillog

BACKLOG = 1024
LOOK_SECONDS = 1.0
ADVICE = "Allow the service more descriptors (LimitNOFILE=, ulimit -n), or fewer connections; who connects waits."


def free_descriptors() -> int:
    """How many more files and connections this process may open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        taken = sum(1 for each in Path("/dev/fd").iterdir() if int(each.name) < limit)
    except OSError as error:
        # Where nobody can tell, there are plenty.
        return 0 if error.errno in (errno.EMFILE, errno.ENFILE) else limit
    return limit - taken


class Entrance:
    """Makes a protocol by `factory` of every connection on some sockets. `name` is what the log calls it."""

    def __init__(self, name: str, factory: Callable[[], asyncio.BaseProtocol], reserve: int) -> None:
        self._name = name
        self._factory = factory
        self._most_reserve = reserve
        self._reserve = 0
        self._sockets: Sequence[socket.socket] = ()
        self._servers: list[asyncio.Server] = []
        self._looking: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [one.getsockname()[:2] for one in self._sockets]

    @property
    def is_open(self) -> bool:
        """Whether connections are being taken."""
        return bool(self._servers) and all(server.is_serving() for server in self._servers)

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        """Take connections on these sockets, which are this object's from now on. Raises OSError."""
        self._sockets = tuple(sockets)
        # With few descriptors in all the reserve is not to be all there is.
        self._reserve = min(self._most_reserve, free_descriptors() // 2)
        await self._serve()
        self._looking = asyncio.create_task(self._look())

    def close(self) -> None:
        """Take no more, and let go of the sockets. May be called twice."""
        if self._looking is not None:
            self._looking.cancel()
        self._rest()
        for one in self._sockets:
            one.close()
        self._sockets = ()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            # A server closes its socket when it stops: ours goes on listening.
            own = one.dup()
            try:
                self._servers.append(await loop.create_server(self._factory, sock=own, backlog=BACKLOG))
            except BaseException:
                own.close()
                raise

    def _rest(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            has_enough = free_descriptors() >= self._reserve
            if self._servers and not has_enough:
                self._rest()
                maillog.trouble(self._name, "almost out of file descriptors", ADVICE)
            elif not self._servers and has_enough:
                try:
                    await self._serve()
                    maillog.recovered(self._name)
                except OSError:
                    self._rest()
