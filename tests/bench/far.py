"""A primary that is far away: a proxy that lets octets through 50 ms later, each way (`far PORT PRIMARY_PORT`).

It also counts who waits for whom. A client that speaks after it has been answered begins another round trip; the proxy
prints the sum for all connections that have carried mail when it is ended (SIGTERM).
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.tools import Taker
from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
DELAY_SECONDS = 0.05
PROBE_OCTETS = 2000  # a probe says less than this, and it carries no mail


class Far:
    """Implements Taker: stands before another one, on a port of its own."""

    def __init__(self, near: Taker) -> None:
        self.port = free_port()
        self._near = near
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._near.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._near.__exit__(kind, error, trace)

    def start(self) -> None:
        self._near.start()
        command = [sys.executable, "-m", "tests.bench.far", str(self.port), str(self._near.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the proxy did not come up"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._near.stop()

    def count(self) -> int:
        return self._near.count()

    def round_trips(self) -> int:
        """Ends the proxy: how many there have been, on connections that carried mail."""
        assert self._process is not None
        self._process.terminate()
        said, _ = self._process.communicate(timeout=10)
        self._process = None
        return int(said)


class _Way(asyncio.Protocol):
    """One direction of one connection: what arrives here leaves there, later and in order."""

    def __init__(self, trip: _Trip, *, is_client: bool) -> None:
        self._trip = trip
        self._is_client = is_client
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.other: _Way | None = None
        self._under_way: deque[bytes | None] = deque()  # to us; None is the end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._trip.heard(len(data), is_client=self._is_client)
        assert self.other is not None
        self.other.send(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.send(None)

    def send(self, data: bytes | None) -> None:
        """Let this through when it has been under way long enough."""
        self._under_way.append(data)
        self._loop.call_later(DELAY_SECONDS, self._arrive)

    def _arrive(self) -> None:
        # Timers of one moment may run in any order: what arrives is the oldest, whichever timer it is.
        data = self._under_way.popleft()
        if self.transport is None or self.transport.is_closing():
            return
        if data is None:
            self.transport.close()
        else:
            self.transport.write(data)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Trip:
    """What was seen of one connection. Making it is a round trip too."""

    def __init__(self) -> None:
        self.octets = 0
        self.turns = 1
        self._was_server = False

    def heard(self, octets: int, *, is_client: bool) -> None:
        if is_client:
            self.octets += octets
            self.turns += self._was_server
        self._was_server = not is_client


class _Proxy:
    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._trips: list[_Trip] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def new(self) -> _Way:
        trip = _Trip()
        self._trips.append(trip)
        near, far = _Way(trip, is_client=True), _Way(trip, is_client=False)
        near.other, far.other = far, near
        task = asyncio.get_running_loop().create_task(self._connect(near, far))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return near

    async def _connect(self, near: _Way, far: _Way) -> None:
        await asyncio.sleep(DELAY_SECONDS)
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self._to_port)
        except OSError:
            near.abort()

    def round_trips(self) -> int:
        return sum(trip.turns for trip in self._trips if trip.octets >= PROBE_OCTETS)


async def _run(port: int, to_port: int) -> None:
    loop = asyncio.get_running_loop()
    proxy, over = _Proxy(to_port), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(proxy.new, "127.0.0.1", port, backlog=256)
    print("ready", flush=True)
    async with server:
        await over.wait()
        print(proxy.round_trips(), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), int(sys.argv[2])))
