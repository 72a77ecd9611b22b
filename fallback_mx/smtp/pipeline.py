"""Commands out, replies in, paired beyond doubt (RFC 2920).

Each reply belongs to the oldest command still waiting for one. A reply that nothing waits for, that is no reply, that
has no end, or that the command cannot get (a 250 to DATA, a 354 to MAIL) breaks the connection: from then on nobody
could say which reply is whose. What was waiting then learns that it gets none, and is deferred by whoever asked.

What may be said to which command stands in fallback_mx.smtp.steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections import deque
from collections.abc import Callable, Sequence

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp.replies import MAX_REPLY_OCTETS, Garbled, ReplyReader
from fallback_mx.smtp.steps import Step, Timeouts


class Exchange:
    """Commands sent together, and the replies they have got so far, in order."""

    __slots__ = ("_done", "replies", "steps")

    def __init__(self, steps: Sequence[Step], done: asyncio.Future[None] | None) -> None:
        self.steps = steps
        self.replies: list[Reply] = []
        self._done = done

    @classmethod
    def of(cls, steps: Sequence[Step], replies: list[Reply]) -> Exchange:
        """One that is over."""
        over = cls(steps, None)
        over.replies = replies
        return over

    def add(self, reply: Reply) -> None:
        self.replies.append(reply)
        if len(self.replies) == len(self.steps):
            self.end()

    def end(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def wait(self) -> None:
        """Until every reply is there, or the connection is broken. Never raises for what the server does."""
        if self._done is not None and not self._done.done():
            await self._done

    def then(self, callback: Callable[[], None]) -> None:
        """Call this, in a turn of its own, when `wait` would return."""
        if self._done is not None:
            self._done.add_done_callback(lambda _: callback())


class Pipeline(asyncio.Protocol):
    """One connection. Once `broken` says why, nothing more is sent and no reply will come.

    `farewell` is the reply with which the server ended it, asked or not: a 421, and while it `is_interruptible` any
    refusal.
    """

    def __init__(self, transport: asyncio.Transport, timeouts: Timeouts) -> None:
        self.broken: str | None = None
        self.farewell: Reply | None = None
        self.is_interruptible = False
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._timeouts = timeouts
        self._reader = ReplyReader()
        self._waiting: deque[tuple[Exchange, Step]] = deque()
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None
        self._is_switching = False
        transport.set_protocol(self)

    # Out --------------------------------------------------------------------------------------------------------

    def expect(self, steps: Sequence[Step]) -> Exchange:
        """Wait for a reply to each of these, behind those that are waited for already. Then `push` the commands."""
        exchange = Exchange(steps, self._loop.create_future())
        if self.broken is not None:
            exchange.end()
            return exchange
        was_idle = not self._waiting
        self._waiting.extend((exchange, step) for step in steps)
        if was_idle:
            self._arm()
        return exchange

    def push(self, data: bytes) -> None:
        """Write commands. They are few octets: nobody waits for the server to take them."""
        if self.broken is None:
            self._transport.write(data)

    async def write(self, data: bytes) -> None:
        """Write content, and wait while the server is slow to take it."""
        self.push(data)
        await self.room()

    @property
    def is_choked(self) -> bool:
        """Whether the server is slow to take what was written."""
        return self._room is not None

    async def room(self) -> None:
        """Wait until the server has taken most of what was written, or the connection is broken."""
        if self._room is None:
            return
        # A reply that is waited for has its own deadline, and what it is waited for lies behind what is stuck here.
        if not self._waiting:
            self._set_deadline(self._timeouts.block)
        await self._room
        if not self._waiting:
            self._set_deadline(None)

    async def converse(self, step: Step, line: bytes) -> Reply | None:
        """Push one command and wait for its reply; None where none came."""
        exchange = self.expect([step])
        self.push(line)
        await exchange.wait()
        return exchange.replies[0] if exchange.replies else None

    def quit(self) -> Exchange:
        """Leave in order, and close once the server has said goodbye (RFC 5321, section 4.1.1.10)."""
        goodbye = self.expect([Step.QUIT])
        self.push(b"QUIT\r\n")
        goodbye.then(self.close)
        return goodbye

    async def leave(self) -> None:
        """The same, and wait until it is done."""
        if self.broken is None:
            await self.converse(Step.QUIT, b"QUIT\r\n")
            self.close()

    def close(self) -> None:
        """End the connection in order: what was written is still sent."""
        self._break("closed")
        self._transport.close()

    def abort(self, why: str = "aborted") -> None:
        """Cut the connection: what was written and not yet sent is lost."""
        self._break(why)
        # One that is closing is let go in order; early releases of Python 3.11 break when such a one is aborted.
        if not self._transport.is_closing():
            self._transport.abort()

    # TLS --------------------------------------------------------------------------------------------------------

    async def encrypt(self, context: ssl.SSLContext, server_name: str, seconds: float) -> ssl.SSLObject:
        """Go on under TLS, now that the server has agreed to it. Raises OSError, of which ssl.SSLError is one.

        What came in clear behind the reply to STARTTLS is thrown away (RFC 3207, section 4.2; FAULTS 29).
        """
        encrypted = await self._loop.start_tls(
            self._transport, self, context, server_hostname=server_name, ssl_handshake_timeout=seconds
        )
        if encrypted is None:
            raise ConnectionResetError("the server closed the connection")
        self._transport = encrypted
        self._is_switching = False
        found: ssl.SSLObject = encrypted.get_extra_info("ssl_object")
        return found

    # In ---------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.broken is not None:
            return
        if self._is_switching:
            # Nothing is read until the handshake is over: under TLS it speaks without having been asked.
            self.abort("a reply that nothing asked for")
            return
        reply = None
        try:
            for reply in self._reader.feed(data):
                self._pair(reply)
                if self.broken is not None:
                    return
                if self._is_switching:
                    self._reader = ReplyReader()
                    break
        except Garbled as garbled:
            self.abort(str(garbled))
            return
        # Replies move the deadline on; octets that are none yet do not.
        if reply is not None:
            self._arm()

    def _pair(self, reply: Reply) -> None:
        if reply.code == 421:
            # The server is going away, whatever was asked (RFC 5321, section 3.8).
            self.farewell = reply
            if self._waiting:
                self._waiting.popleft()[0].add(reply)
            self.abort(str(reply))
        elif not self._waiting:
            if self.is_interruptible and reply.code >= 400:
                self.farewell = reply
                self.abort(str(reply))
                return
            self.abort(f"a reply that nothing asked for: {reply}")
        elif reply.code // 100 not in self._waiting[0][1].first_digits:
            self.abort(f"{reply} is no reply to {self._waiting[0][1].label}")
        else:
            exchange, step = self._waiting.popleft()
            if step is Step.STARTTLS and reply.is_success:
                self._is_switching = True
                self._transport.pause_reading()
            exchange.add(reply)

    def eof_received(self) -> bool:
        self.abort("the server closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self.is_interruptible and self.broken is None:
            self._hear_last_words()
        self._break(f"connection lost: {exc}" if exc else "the server closed the connection")

    def _hear_last_words(self) -> None:
        """Read what the server said before it closed with some of our content unread. That is a reset, and where it is
        our writing that meets it first nobody reads any more."""
        connection = self._transport.get_extra_info("socket")
        if connection is None or self._transport.get_extra_info("sslcontext") is not None:
            return
        with contextlib.suppress(OSError):
            self.data_received(os.read(connection.fileno(), MAX_REPLY_OCTETS))

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def _break(self, why: str) -> None:
        if self.broken is not None:
            return
        self.broken = why
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.resume_writing()
        while self._waiting:
            self._waiting.popleft()[0].end()

    # Time: one timer a connection, moved on rather than made anew for every command ---------------------------------

    def _arm(self) -> None:
        """Give the oldest waiting command its time, from now."""
        self._set_deadline(getattr(self._timeouts, self._waiting[0][1].timeout) if self._waiting else None)

    def _set_deadline(self, seconds: float | None) -> None:
        if seconds is None or self.broken is not None:
            self._deadline = None
            return
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
            return
        awaited = self._waiting[0][1].awaited if self._waiting else "room to write"
        self.abort(f"timeout waiting for {awaited}")
