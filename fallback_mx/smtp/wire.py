"""One inbound connection: octets into lines or content, replies into octets, and what keeps a client from hurting us.

Everything here happens in the callback that brings the octets: no task and no future is made for a command. Input that
cannot be used yet waits in the kernel. A client that is slow to send is told so and cut off, one that does not read is
aborted: `deadlines` says when. A proxy that is trusted says first who its client is (`preface`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiosmtpd.smtp import SMTP

from fallback_mx.smtp.content import ContentReader
from fallback_mx.smtp.deadlines import LINGER_SECONDS, Deadlines
from fallback_mx.smtp.hearer import Hearer
from fallback_mx.smtp.preface import Preface

COMMAND_LIMIT = 2048  # RFC 5321, section 4.5.3.1.4 asks for 512 and for room for parameters
INPUT_LIMIT = 64 * 1024
HANDSHAKE_SECONDS = 60.0
TURN_COMMANDS = 100  # then the others have their turn


class Wire(SMTP, Hearer):
    """The connection under a session. Built on aiosmtpd's protocol class, with reading and writing of its own."""

    # An object with more than 30 attributes in its dictionary is slower to read: these are kept out of it.
    __slots__ = (
        *("_content", "_deadlines", "_has_ended", "_input", "_is_choked", "_is_lost", "_is_reading", "_is_resting"),
        *("_is_waiting", "_out", "client_address", "due", "is_leaving", "is_tls", "loop", "peer_address", "transport"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        # Neither SMTP.__init__, which builds three tables by reflection for every connection, nor that of the stream
        # protocol, whose reader wants a task: only what lies under both.
        asyncio.streams.FlowControlMixin.__init__(self, loop)
        self.loop = loop
        self.transport: Any = None
        self.client_address = ""
        self.peer_address = ""  # the client's, whatever it says later of whom it speaks for
        self.is_tls = False
        self.due = 0.0
        self._input = b""
        self._out = b""
        self._content: ContentReader | None = None
        self._deadlines = deadlines
        self._is_waiting = False
        self.is_leaving = False
        self._has_ended = False
        self._is_reading = True
        self._is_choked = False
        self._is_resting = False
        self._is_lost = False

    # For the session --------------------------------------------------------------------------------------------

    def say(self, reply: str) -> None:
        """Reply; it goes out with the others of this turn (RFC 2920, section 3.2)."""
        self._out += reply.encode("ascii", "replace") + b"\r\n"

    def say_raw(self, reply: bytes) -> None:
        """Reply with octets that are ready, CRLF included."""
        self._out += reply

    def read_content(self, reader: ContentReader) -> None:
        """What comes next is content."""
        self._content = reader
        self.due = self.loop.time() + self._deadlines.block_seconds

    def wait(self) -> None:
        """Look at no further input until `go_on`: something is being done that takes its time."""
        self._is_waiting = True
        self.due = float("inf")

    def go_on(self) -> None:
        """What was waited for is done, and its reply said."""
        self._is_waiting = False
        self.due = self.loop.time() + self._deadlines.command_seconds
        self._advance()

    def leave(self, *, mid_stream: bool = False) -> None:
        """End the connection once what was said is sent.

        `mid_stream`: more of what it is sending may come, and is thrown away for a moment. Closing on unread input
        resets the connection, and the reset may swallow the reply.
        """
        if self.is_leaving or self.transport is None:
            return
        self.is_leaving = True
        self.due = self.loop.time() + LINGER_SECONDS
        self._flush()
        self._input = b""
        if not mid_stream or self._has_ended or self.is_tls or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()

    @property
    def is_idle(self) -> bool:
        """Whether the client is between commands, and nothing of its is being worked on."""
        return not self._is_waiting and self._content is None

    @property
    def is_in_content(self) -> bool:
        return self._content is not None

    def overdue(self) -> None:
        """The client has had its time."""
        if not self.is_leaving:
            self.timed_out()
        if self.is_leaving or self._is_choked:
            # Not close(): it waits for a client that never reads to take what we have written.
            self.abort()
        else:
            self._content = None
            self.leave(mid_stream=True)

    def abort(self) -> None:
        """Cut the connection now."""
        if self.transport is not None:
            self.transport.abort()

    # For asyncio ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        peer = transport.get_extra_info("peername")
        address = peer[0] if peer else ""
        if self.is_proxy(address):
            Preface(self, transport, address)
        else:
            self.begin(transport, address)

    def begin(self, transport: Any, client_address: str) -> None:
        """The connection stands, and this is whom it is for."""
        self.transport = transport
        self.client_address = self.peer_address = client_address
        self.due = self.loop.time() + self._deadlines.command_seconds
        self._deadlines.add(self)
        self.opened()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        self._deadlines.discard(self)
        self.transport = None
        self._content = None
        self._input = b""
        self.lost()

    def data_received(self, data: bytes) -> None:
        if self.is_leaving:
            return
        self._input = self._input + data if self._input else data
        if self._is_resting:
            return
        if not self._is_waiting:
            self._advance()
        elif len(self._input) > INPUT_LIMIT:
            self._let_read(False)

    def eof_received(self) -> bool:
        # A client may close its half after the final dot and still wait for the reply. TLS has no such half.
        self._has_ended = True
        if self.is_leaving:
            return False
        if not self._is_waiting:
            self.leave()
        return not self.is_tls

    def pause_writing(self) -> None:
        # It does not read what it is told: neither do we.
        self._is_choked = True
        self._let_read(False)

    def resume_writing(self) -> None:
        self._is_choked = False
        if not self._is_waiting and not self._is_resting:
            self._advance()

    # Turns ------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Use the input as far as it can be used in this turn, then send what was said to it."""
        left = TURN_COMMANDS
        while self._input and not (self._is_waiting or self.is_leaving or self._is_choked):
            if left == 0:
                self._rest()
                return
            if not (self._read_content() if self._content is not None else self._read_command()):
                break
            left -= 1
        if left < TURN_COMMANDS and self._content is None and not (self._is_waiting or self.is_leaving):
            self.due = self.loop.time() + self._deadlines.command_seconds
        if self._out:
            self._flush()
        if self._has_ended and not self._is_waiting:
            self.leave()
        wanted = not self._is_choked and not (self._is_waiting and len(self._input) > INPUT_LIMIT)
        if wanted is not self._is_reading:
            self._let_read(wanted)

    def _rest(self) -> None:
        """Let everybody else have a turn: one client with a great many commands must not keep them waiting."""
        self._flush()
        self._let_read(False)
        if self._content is None:
            self.due = self.loop.time() + self._deadlines.command_seconds
        self._is_resting = True
        self.loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._is_resting = False
        if not self._is_waiting:
            self._advance()

    def _read_command(self) -> bool:
        """Obey the first line of the input; False if there is none yet."""
        octets = self._input
        end = octets.find(b"\n", 0, COMMAND_LIMIT + 1)
        if end < 0:
            if len(octets) > COMMAND_LIMIT:
                self.say("500 5.5.2 Line too long")
                self.leave(mid_stream=True)
            return False
        line = octets[: end + 1]
        # The only CR is in front of the LF.
        if line.find(b"\r") != end - 1 or end == 0 or b"\0" in line:
            # Where a line ends is not agreed upon: nothing that follows can be trusted.
            self.say("500 5.5.2 Lines must end with CRLF")
            self.leave(mid_stream=True)
            return False
        self._input = octets[end + 1 :]
        self.obey(line[:-2])
        return True

    def _read_content(self) -> bool:
        """Feed the input to the content; False while its end has not come."""
        assert self._content is not None
        octets, self._input = self._input, b""
        deadlines = self._deadlines
        credit = self.due + len(octets) * deadlines.seconds_per_octet
        self.due = min(self.loop.time() + deadlines.block_seconds, credit)
        try:
            self.take(len(octets))
            rest = self._content.feed(octets)
        except Exception as error:
            self._content = None
            self.refuse_stream(error)
            return False
        if rest is None:
            return False
        self._content = None
        self._input = rest
        self.content_ended()
        return True

    def _flush(self) -> None:
        if self._out and self.transport is not None:
            self.transport.write(self._out)
        self._out = b""

    def _let_read(self, wanted: bool) -> None:
        if wanted is not self._is_reading and self.transport is not None and not self.transport.is_closing():
            self._is_reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    async def encrypt(self, context: Any) -> None:
        """Speak TLS from now on. What came before the handshake is discarded (RFC 3207, section 4.2).

        Raises whatever the handshake raises where the client does not manage; the connection is gone then.
        """
        self._flush()
        self._input = b""
        if self.transport is None:
            raise ConnectionResetError
        try:
            transport = await self.loop.start_tls(
                self.transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=LINGER_SECONDS,
            )
            if transport is None:
                raise ConnectionResetError
        except BaseException:
            # A connection that dies in its handshake is not always reported to the protocol above the TLS.
            self.abort()
            self.connection_lost(None)
            raise
        self.transport = transport
        self.is_tls = True
        self._is_reading = True
        # Where it was choked before, nobody tells us that it reads again: that goes to what lies below the TLS by then.
        self._is_choked = False
        self._input = b""
