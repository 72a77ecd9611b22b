"""The HTTP server inside the service: uvicorn with its hands off the process.

It takes no signals, configures no logging and reads no environment: starting and stopping is the service's. A port
that is taken or forbidden raises HttpListenError before anything else runs. Everything a client can take is bounded:
connections (see crowd.py), the size of a request's head, and the time a connection may go without finishing a request
(RFC 9112, section 9.5), so that a slow client costs a descriptor for seconds and mail nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from fallback_mx.entrance import Entrance
from fallback_mx.web.crowd import Crowd

CONNECTIONS = 100
HEAD_OCTETS = 16 * 1024
PATIENCE_SECONDS = 10.0
STOP_SECONDS = 3
RESERVED_DESCRIPTORS = 8  # fewer than the listener's: health is shown while it rests


class HttpListenError(Exception):
    """The HTTP address cannot be listened on. `advice` tells the operator what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class _Connection(H11Protocol):
    """Closes a connection that in a whole `patience_seconds` neither began nor finished a request."""

    patience_seconds = PATIENCE_SECONDS
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._watch = self.loop.call_later(self.patience_seconds, self._look, self.cycle)

    def _look(self, cycle_before: object) -> None:
        if self.cycle is cycle_before:
            self.transport.abort()
        else:
            self._look_again()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._entrance = Entrance("http", self._protocol, RESERVED_DESCRIPTORS)

    def _protocol(self) -> asyncio.BaseProtocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        await self._entrance.open(sockets or [])
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._entrance.close()
        await super().shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are the service's: it stops the parts in their order.
        yield


class HttpServer:
    """One address that answers with `app`. Port 0 lets the kernel choose; `port` is the one in use."""

    def __init__(self, app: ASGIApp, host: str, port: int, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._app = app
        self._patience_seconds = patience_seconds
        self._host = host
        self.port = port
        self._listener: socket.socket | None = None
        self._server: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take the port; who connects waits for `start`. Raises HttpListenError."""
        self._listener = await _listen(self._host, self.port)
        self.port = self._listener.getsockname()[1]

    async def start(self) -> None:
        """Return when requests are answered. Opens the port where that has not been done. Raises HttpListenError."""
        if self._listener is None:
            await self.open()
        assert self._listener is not None
        config = uvicorn.Config(
            Crowd(self._app, self._count, CONNECTIONS),
            http=type("_Connection", (_Connection,), {"patience_seconds": self._patience_seconds}),
            ws="none",
            interface="asgi3",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEAD_OCTETS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = _Uvicorn(config)
        self._task = asyncio.create_task(self._server.serve([self._listener]), name="http")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({listening, self._task}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._task.done():
            self._task.result()

    def _count(self) -> int:
        return 0 if self._server is None else len(self._server.server_state.connections)

    async def stop(self) -> None:
        """Take no more requests, finish those under way, let go of the port. May be called twice."""
        if self._server is None or self._task is None:
            if self._listener is not None:
                self._listener.close()
            return
        self._server.should_exit = True
        await self._task
        self._server = None


async def _listen(host: str, port: int) -> socket.socket:
    where = f"http.listen {f'[{host}]' if ':' in host else host}:{port}"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HttpListenError(f"{where}: {error.strerror}", "Write an address of this machine.") from None
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(cast(Any, address))
        listener.listen(CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise HttpListenError(f"{where}: {os.strerror(error.errno or 0)}", _advice(error)) from None
    return listener


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "Choose a port above 1023, or give the service CAP_NET_BIND_SERVICE."
    return 'Write another address under [http], or stop what listens there (ss -ltnp); listen = "" switches it off.'
