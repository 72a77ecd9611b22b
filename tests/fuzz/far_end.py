"""The far end of a session's connection, as asyncio shows it to a protocol, without a socket.

It does what a selector transport does and no more: nothing is read while reading is paused, the end of the stream comes
after all of it, what is closed is gone once everything is written, and what is done wrong raises. TLS is a matter of
words: the handshake is done when the script says so, and what comes before that is lost in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from tests.fakes.virtual_time import VirtualTimeLoop

PEER = "192.0.2.7"


class Misuse(AssertionError):
    """A protocol did to its transport what asyncio does not allow."""


class Wire:
    """What went over one connection, and the transport that stands at its near end now."""

    def __init__(self, loop: Loop, protocol: asyncio.Protocol) -> None:
        self.loop = loop
        self.said = bytearray()
        self.delivered: list[int] = []  # where a piece ended, in octets of all that was delivered
        self.has_ended = False
        self.is_choked = False
        self.is_lost = False
        self.near = Transport(self, protocol)
        self._coming: deque[bytes] = deque()
        self._handshake: asyncio.Future[None] | None = None

    def arrive(self, octets: bytes) -> None:
        if self._handshake is None and not self.has_ended:
            self._coming.append(octets)

    def end(self) -> None:
        """The client sends no more."""
        self.has_ended = True

    def lose(self) -> None:
        """The connection is gone, in both directions and at once."""
        self.is_lost = True
        self._coming.clear()
        self.fail_handshake()
        self.near.gone(ConnectionResetError("lost"))

    @property
    def is_stuck(self) -> bool:
        """Whether the client has sent something that nobody wants to read."""
        return bool(self._coming) and not self.near.is_reading and not self.near.is_closing()

    @property
    def is_wanted(self) -> bool:
        """Whether there is something to deliver, and somebody to read it."""
        near = self.near
        left = bool(self._coming) or (self.has_ended and not near.has_seen_end)
        return left and near.is_reading and not near.is_closing() and not self.is_handshaking

    @property
    def is_handshaking(self) -> bool:
        return self._handshake is not None

    def deliver(self) -> bool:
        """Hand on what is next, if it is wanted; whether that was so."""
        near = self.near
        if not self.is_wanted:
            return False
        if self._coming:
            near.protocol.data_received(self._coming.popleft())
            return True
        near.has_seen_end = True
        if not near.protocol.eof_received():
            near.close()
        return True

    def choke(self) -> None:
        self.is_choked = True

    def breathe(self) -> None:
        self.is_choked = False
        self.near.breathe()

    # TLS --------------------------------------------------------------------------------------------------------

    async def begin_tls(self, seconds: float) -> Transport | None:
        assert self._handshake is None, "one handshake at a time"
        if self.near.is_closing():
            raise ConnectionResetError("closed before the handshake")
        # What the client has sent behind STARTTLS is no handshake: a server may read it as one all the same.
        self._coming.clear()
        self._handshake = self.loop.create_future()
        timer = self.loop.call_later(seconds, self.fail_handshake)
        try:
            await self._handshake
        finally:
            self._handshake = None
            timer.cancel()
        near = self.near
        self.near = Transport(self, near.protocol, is_tls=True)
        return self.near

    def shake_hands(self) -> None:
        if self._handshake is not None and not self._handshake.done():
            # It reads, then. asyncio tells that to the TLS in between, and not to who was told that it did not.
            self.is_choked = False
            self._handshake.set_result(None)

    def fail_handshake(self) -> None:
        if self._handshake is not None and not self._handshake.done():
            self._handshake.set_exception(ConnectionAbortedError("no handshake"))


class Transport(asyncio.Transport):
    def __init__(self, wire: Wire, protocol: asyncio.Protocol, *, is_tls: bool = False) -> None:
        super().__init__()
        self.protocol = protocol
        self.is_reading = True
        self.has_seen_end = False
        self._wire = wire
        self._is_tls = is_tls
        self._has_paused = False
        self._has_ended = False
        self._is_closing = False
        self._is_gone = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (PEER, 40_000) if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_ended:
            raise Misuse("written behind write_eof")
        if self._is_closing:
            if self._is_tls:
                return  # the client has closed: what is still said to it is lost
            raise Misuse("written to a closed transport")
        if not data:
            raise Misuse("nothing was written")
        self._wire.said += data
        if self._wire.is_choked and not self._has_paused:
            self._has_paused = True
            self.protocol.pause_writing()

    def breathe(self) -> None:
        if self._has_paused:
            self._has_paused = False
            self.protocol.resume_writing()
        if self._is_closing:
            self._wire.loop.call_soon(self.gone, None)

    def can_write_eof(self) -> bool:
        return not self._is_tls

    def write_eof(self) -> None:
        if self._is_tls:
            raise Misuse("TLS has no half-closed connections")
        self._has_ended = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self._wire.is_choked:
                self._wire.loop.call_soon(self.gone, None)

    def abort(self) -> None:
        self._is_closing = True
        self._wire.fail_handshake()
        self._wire.loop.call_soon(self.gone, None)

    def gone(self, error: Exception | None) -> None:
        self._is_closing = True
        if not self._is_gone:
            self._is_gone = True
            self.protocol.connection_lost(error)

    @property
    def wire(self) -> Wire:
        return self._wire


class Loop(VirtualTimeLoop):
    """Time is virtual, exceptions in callbacks are kept, and timers can be counted."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[BaseException] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._quiet: asyncio.Future[None] | None = None
        self.set_exception_handler(self._keep)

    def _keep(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context.get("exception") or RuntimeError(context["message"]))

    def call_at(self, *arguments: Any, **more: Any) -> asyncio.TimerHandle:
        timer = super().call_at(*arguments, **more)
        self._timers.append(timer)
        return timer

    def timers_left(self) -> list[asyncio.TimerHandle]:
        self._timers = [each for each in self._timers if not each.cancelled() and each.when() > self.time()]
        return self._timers

    async def quiet(self) -> None:
        """Until nothing is left to do but to wait for a time to come."""
        await asyncio.sleep(0)
        timer = self.call_later(0.001, lambda: None)
        self._quiet = self.create_future()
        await self._quiet
        timer.cancel()

    def pass_by(self, seconds: float) -> None:
        if self._quiet is not None:
            self._quiet.set_result(None)
            self._quiet = None
        else:
            super().pass_by(seconds)

    async def start_tls(self, transport: Any, protocol: Any, sslcontext: Any, **more: Any) -> Any:
        return await transport.wire.begin_tls(more["ssl_handshake_timeout"])
