"""One inbound session, from the greeting to QUIT (RFC 5321, section 4).

The connection's plumbing is aiosmtpd's; what it says and when is ours. Nothing here answers 250 for content before
the queue has committed it, and nothing the queue or this program suffers is the sender's fault: it is 451 or 452,
never 5xx, and never the text of an exception. A stream that two servers could read differently is refused and
closed; what came with STARTTLS in the clear is discarded (RFC 3207, section 4.2).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from aiosmtpd.smtp import SMTP

from fallback_mx.rules import trace
from fallback_mx.rules.admission import Verdict, admit
from fallback_mx.smtp.content import Untrusted, WireReader, read_content
from fallback_mx.smtp.paths import BadPath, Path, parse
from mxqueue import Envelope, QueueError, QueueFull, Spool

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Listener, Route

COMMAND_LIMIT = 2048  # RFC 5321, section 4.5.3.1.4 asks for 512 and for room for parameters
BUFFER_OCTETS = 32 * 1024  # a connection's input beyond twice this waits in the kernel
COMMAND_TIMEOUT_SECONDS = 300.0  # section 4.5.3.2.7
BLOCK_TIMEOUT_SECONDS = 180.0  # section 4.5.3.2.5
ERROR_LIMIT = 20
HEAD_OCTETS = 64 * 1024
# A sender that goes on this far beyond the largest message is not going to stop by itself.
OVERRUN_OCTETS = 64 * 1024 * 1024
LINGER_SECONDS = 5.0

LOCAL_ERROR = "451 4.3.0 Temporary failure here, please try again later"
NO_SPACE = "452 4.3.1 No room for mail here at the moment, please try again later"


@dataclass(slots=True)
class Transaction:
    """A mail transaction under way (RFC 5321, section 3.3)."""

    reverse_path: str
    body: str
    recipients: dict[str, Route] = field(default_factory=dict)


class _Intake:
    """Where the octets of one message go: the spool, and beside it what must be known before the commit."""

    def __init__(self, spool: Spool, limit: int) -> None:
        self._spool = spool
        self._limit = limit
        self._head = bytearray()
        self.failed: OSError | None = None
        self.octets = 0

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        if self.failed is not None or self.too_large:
            return
        if len(self._head) < HEAD_OCTETS:
            self._head += data[: HEAD_OCTETS - len(self._head)]
        try:
            self._spool.write(data)
        except OSError as error:
            self.failed = error

    @property
    def too_large(self) -> bool:
        return self.octets > self._limit

    @property
    def hops(self) -> int:
        return trace.hops(bytes(self._head))


class Session(SMTP):
    """A client's session. Made once for every connection: what all of them share lives in the Listener."""

    _commands: ClassVar[dict[bytes, Callable[[Session, str], Awaitable[None]]]]

    def __init__(self, listener: Listener) -> None:
        # Not SMTP.__init__: it builds three tables by reflection, for every connection the same.
        self.loop = listener.loop
        self._wire = WireReader(limit=BUFFER_OCTETS, loop=self.loop)
        asyncio.StreamReaderProtocol.__init__(self, self._wire, self._connected, self.loop)
        self._listener = listener
        self._writer: asyncio.StreamWriter
        self._task: asyncio.Task[None] | None = None
        self._out: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._errors = 0
        self._helo = ""
        self._esmtp = False
        self._tls = False
        self._transaction: Transaction | None = None
        self._quitting = False
        self.idle = False
        self.client_address = ""
        self.transport: Any = None

    # Connection -------------------------------------------------------------------------------------------------

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.client_address = peer[0] if peer else ""
        self._listener.opened(self)
        self._extend(COMMAND_TIMEOUT_SECONDS)
        self._tick()
        self._task = self.loop.create_task(self._run())

    def connection_lost(self, error: Exception | None) -> None:
        self._listener.closed(self)
        if self._timer is not None:
            self._timer.cancel()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self.transport = None
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> bool:
        # A client may close its half after the final dot and still wait for the reply. TLS has no such half.
        self._wire.feed_eof()
        return not self._tls

    def _extend(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    def _tick(self) -> None:
        """One timer a session that looks at the deadline now and then: cheaper than one for every command."""
        remaining = self._deadline - self.loop.time()
        if remaining <= 0:
            # Not close(): it waits for a client that never reads to take what we have written.
            self._listener.events.session_limit(self.client_address, "timeout")
            if self.transport is not None:
                self.transport.abort()
            return
        self._timer = self.loop.call_later(min(remaining + 0.01, 30.0), self._tick)

    def tell_to_leave(self) -> None:
        """The service stops: an idle client is told so now, a busy one after its command."""
        self._quitting = True
        if self.idle and self.transport is not None:
            self.transport.write(self._leaving())
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _leaving(self) -> bytes:
        return b"421 4.3.2 " + self._listener.settings.hostname.encode() + b" is stopping, please try again\r\n"

    # The command loop -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._serve()
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            # Nobody classified it: it is ours, and temporary.
            self._listener.events.trouble("session", error)
            self._say(LOCAL_ERROR)
            with contextlib.suppress(Exception):
                await self._flush()
        finally:
            if self.transport is not None:
                self.transport.close()

    async def _serve(self) -> None:
        refusal = self._listener.refusal()
        if refusal:
            self._say(refusal)
            await self._flush()
            return
        self._say(f"220 {self._listener.settings.hostname} ESMTP Fallback MX")
        while True:
            if not self._wire.has_line():
                await self._flush()
                if self._quitting:
                    self._out.append(self._leaving())
                    await self._flush()
                    return
            self.idle = True
            line = await self._read_line()
            self.idle = False
            if line is None:
                await self._flush()
                return
            self._extend(COMMAND_TIMEOUT_SECONDS)
            if not await self._obey(line):
                await self._flush()
                return

    async def _read_line(self) -> bytes | None:
        """A command without its CRLF; None when the client has gone, or must go."""
        try:
            line = await self._wire.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            line = b""
        if not line or len(line) > COMMAND_LIMIT:
            self._say("500 5.5.2 Line too long")
            return None
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            # Where a line ends is not agreed upon: nothing that follows can be trusted.
            self._say("500 5.5.2 Lines must end with CRLF")
            return None
        return line[:-2]

    async def _obey(self, line: bytes) -> bool:
        """Carry out one command. False ends the session."""
        verb, _, argument = line.partition(b" ")
        command = self._commands.get(verb.upper())
        if command is None:
            if verb.upper() == b"BDAT":
                # Its payload follows at once and must never be read as commands (RFC 3030).
                self._say("502 5.5.1 CHUNKING is not offered")
                return False
            self._fault("500 5.5.2 Command not recognized")
        else:
            try:
                text = argument.decode("ascii").strip(" ")
            except UnicodeDecodeError:
                self._fault("501 5.5.2 Only ASCII is understood here")
            else:
                if text.isprintable():
                    await command(self, text)
                else:
                    self._fault("501 5.5.2 Control characters in the argument")
        if self._errors >= ERROR_LIMIT:
            self._listener.events.session_limit(self.client_address, "errors")
            self._say("421 4.7.0 Too many errors")
            return False
        return self.transport is not None and not self.transport.is_closing()

    def _say(self, reply: str) -> None:
        self._out.append(reply.encode("ascii", "replace") + b"\r\n")

    def _fault(self, reply: str) -> None:
        self._errors += 1
        self._say(reply)

    async def _flush(self) -> None:
        """Send the replies gathered: those to pipelined commands go in one write (RFC 2920, section 3.2)."""
        if self._out and self.transport is not None:
            self._writer.write(b"".join(self._out))
            self._out.clear()
            await self._writer.drain()

    # Commands ---------------------------------------------------------------------------------------------------

    async def _helo_command(self, argument: str) -> None:
        if self._greet(argument, "HELO"):
            self._esmtp = False
            self._say(f"250 {self._listener.settings.hostname}")

    async def _ehlo_command(self, argument: str) -> None:
        if self._greet(argument, "EHLO"):
            self._esmtp = True
            self._out.append(self._listener.ehlo_reply(self._tls))

    def _greet(self, argument: str, verb: str) -> bool:
        if not argument or " " in argument:
            self._fault(f"501 5.5.4 Syntax: {verb} hostname")
            return False
        self._helo = argument
        self._transaction = None
        return True

    async def _mail_command(self, argument: str) -> None:
        settings = self._listener.settings
        if not self._helo:
            return self._fault("503 5.5.1 Send EHLO first")
        if self._transaction is not None:
            return self._fault("503 5.5.1 Nested MAIL command")
        try:
            parsed = parse(argument, "FROM")
        except BadPath as error:
            return self._fault(f"501 5.1.7 {error}")
        body, size = "7BIT", 0
        for name, value in parsed.parameters.items():
            if name == "BODY" and value.upper() in {"7BIT", "8BITMIME"}:
                body = value.upper()
            elif name == "SIZE" and value.isdigit() and len(value) <= 20:
                size = int(value)
            elif name in {"BODY", "SIZE"}:
                return self._fault(f"501 5.5.4 Bad value of {name}")
            else:
                return self._fault(f"555 5.5.4 {name} is not supported")
        if size > settings.max_message_size:
            self._listener.events.refused(self.client_address, "", "size", "552 5.3.4")
            return self._say(f"552 5.3.4 Message too large, at most {settings.max_message_size} octets are taken")
        if not self._listener.has_room(size):
            self._listener.events.refused(self.client_address, "", "space", "452 4.3.1")
            return self._say(NO_SPACE)
        reverse_path = parsed.path.address if parsed.path is not None else ""
        self._transaction = Transaction(reverse_path, body)
        return self._say("250 2.1.0 Sender ok")

    async def _rcpt_command(self, argument: str) -> None:
        if self._transaction is None:
            return self._fault("503 5.5.1 Send MAIL first")
        try:
            parsed = parse(argument, "TO")
        except BadPath as error:
            return self._fault(f"501 5.1.3 {error}")
        if parsed.parameters:
            return self._fault(f"555 5.5.4 {next(iter(parsed.parameters))} is not supported")
        assert parsed.path is not None
        reason, reply = self._judge(parsed.path)
        if reason:
            self._listener.events.refused(self.client_address, parsed.path.domain, reason, reply)
        if reply.startswith("5"):
            self._errors += 1
        return self._say(reply)

    def _judge(self, path: Path) -> tuple[str, str]:
        """Take or refuse one recipient: why it is refused ("" when taken), and the reply."""
        assert self._transaction is not None
        if path.could_be_followed:
            return "syntax", "553 5.1.3 Routes in the local part are not followed"
        settings = self._listener.settings
        domain = path.domain or settings.postmaster_domain
        route = settings.routes.get(domain)
        if route is None:
            return "relay", "550 5.7.1 We do not relay for this domain"
        if admit(route.when_up, self._listener.state_of(route.name)) is Verdict.USE_PRIMARY:
            return "guard", "451 4.3.2 The primary mail server is up, please use it"
        address = f"{path.local}@{domain}"
        recipients = self._transaction.recipients
        if address not in recipients and len(recipients) >= settings.max_recipients:
            return "recipients", "452 4.5.3 Too many recipients, please send the rest separately"
        recipients[address] = route
        return "", "250 2.1.5 Recipient ok"

    async def _data_command(self, argument: str) -> None:
        if argument:
            return self._fault("501 5.5.4 Syntax: DATA")
        if self._transaction is None:
            return self._fault("503 5.5.1 Send MAIL first")
        if not self._transaction.recipients:
            return self._fault("554 5.5.1 No valid recipients")
        transaction, self._transaction = self._transaction, None
        self._say("354 End data with <CR><LF>.<CR><LF>")
        await self._flush()
        settings = self._listener.settings
        spool = Spool(settings.spool_directory)
        intake = _Intake(spool, settings.max_message_size)
        try:
            await read_content(self._wire, intake.write, self._on_block(intake))
        except Untrusted as error:
            spool.close()
            self._listener.events.refused(self.client_address, "", "line_ends", "554 5.6.0")
            await self._leave(f"554 5.6.0 {str(error)[:1].upper()}{str(error)[1:]}")
            return None
        except _Endless:
            spool.close()
            self._listener.events.refused(self.client_address, "", "size", "552 5.3.4")
            await self._leave("552 5.3.4 Message too large")
            return None
        except BaseException:
            spool.close()
            raise
        reply = self._object(intake)
        if reply:
            spool.close()
        else:
            # From here on the spool is the listener's: the commit goes on even if this session does not.
            reply = await self._commit(transaction, spool)
        self._extend(COMMAND_TIMEOUT_SECONDS)
        return self._say(reply)

    def _on_block(self, intake: _Intake) -> Callable[[int], None]:
        limit = self._listener.settings.max_message_size + OVERRUN_OCTETS

        def on_block(octets: int) -> None:
            self._extend(BLOCK_TIMEOUT_SECONDS)
            if intake.octets + octets > limit:
                raise _Endless

        return on_block

    def _object(self, intake: _Intake) -> str:
        """Why the content as a whole is not taken, "" where it is."""
        events, limit = self._listener.events, self._listener.settings.max_message_size
        if intake.too_large:
            events.refused(self.client_address, "", "size", "552 5.3.4")
            return f"552 5.3.4 Message too large, at most {limit} octets are taken"
        if intake.failed is not None:
            events.trouble("spool", intake.failed)
            return NO_SPACE
        if intake.hops > trace.MAX_HOPS:
            events.refused(self.client_address, "", "loop", "554 5.4.6")
            return "554 5.4.6 Too many hops: this message has been going in circles"
        return ""

    async def _commit(self, transaction: Transaction, spool: Spool) -> str:
        """Commit the message for every route it has recipients on, together. The reply to the final dot."""
        envelopes = self._envelopes(transaction)
        # A commit under way is not called off by a client that goes.
        self._extend(float("inf"))
        try:
            ids = await asyncio.shield(self._listener.accept(envelopes, spool))
        except QueueFull as error:
            self._listener.events.trouble("queue", error)
            return NO_SPACE
        except QueueError as error:
            self._listener.events.trouble("queue", error)
            return LOCAL_ERROR
        return f"250 2.0.0 Queued as {' '.join(ids)}"

    def _envelopes(self, transaction: Transaction) -> list[Envelope]:
        paths: dict[str, list[str]] = {}
        for address, route in transaction.recipients.items():
            paths.setdefault(route.name, []).append(address)
        protocol = ("ESMTPS" if self._tls else "ESMTP") if self._esmtp else "SMTP"
        return [
            self._listener.envelope(
                reverse_path=transaction.reverse_path,
                forward_paths=tuple(addresses),
                route=name,
                client_address=self.client_address,
                helo=self._helo,
                protocol=protocol,
                body=transaction.body,
            )
            for name, addresses in paths.items()
        ]

    async def _leave(self, reply: str) -> None:
        """Refuse and go. What still comes is thrown away for a moment, or its reset would swallow the reply."""
        self._say(reply)
        await self._flush()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(LINGER_SECONDS):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self._wire.read(65536):
                    self._extend(COMMAND_TIMEOUT_SECONDS)
        if self.transport is not None:
            self.transport.close()

    async def _rset_command(self, argument: str) -> None:
        self._transaction = None
        self._say("250 2.0.0 Ok")

    async def _noop_command(self, argument: str) -> None:
        self._say("250 2.0.0 Ok")

    async def _vrfy_command(self, argument: str) -> None:
        self._say("252 2.1.5 Send some mail and see")

    async def _help_command(self, argument: str) -> None:
        self._say("214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP STARTTLS QUIT, see RFC 5321")

    async def _quit_command(self, argument: str) -> None:
        self._say("221 2.0.0 Bye")
        await self._flush()
        if self.transport is not None:
            self.transport.close()

    async def _starttls_command(self, argument: str) -> None:
        context = self._listener.settings.tls_context
        if argument:
            return self._fault("501 5.5.4 Syntax: STARTTLS")
        if context is None:
            return self._fault("502 5.5.1 STARTTLS is not offered")
        if self._tls:
            return self._fault("503 5.5.1 TLS is already in use")
        self._say("220 2.0.0 Ready to start TLS")
        await self._flush()
        self._wire.discard()
        transport = await self.loop.start_tls(
            self.transport, self, context, server_side=True, ssl_handshake_timeout=60.0
        )
        self._adopt(transport)
        # What was learned in the clear is forgotten (RFC 3207, section 4.2).
        self._wire.discard()
        self._helo, self._transaction = "", None
        return None

    def _adopt(self, transport: asyncio.Transport | None) -> None:
        """Speak over TLS from now on."""
        if transport is None:
            raise ConnectionResetError
        self._tls = True
        self.transport = transport
        # The reader pauses, and the writer writes to, the transport they were made with.
        self._wire._transport = transport  # type: ignore[attr-defined]
        self._writer._transport = transport  # type: ignore[attr-defined]
        self._over_ssl = True


class _Endless(Exception):
    """The client goes on far beyond the largest message we take."""


Session._commands = {
    b"EHLO": Session._ehlo_command,
    b"HELO": Session._helo_command,
    b"MAIL": Session._mail_command,
    b"RCPT": Session._rcpt_command,
    b"DATA": Session._data_command,
    b"RSET": Session._rset_command,
    b"NOOP": Session._noop_command,
    b"VRFY": Session._vrfy_command,
    b"HELP": Session._help_command,
    b"QUIT": Session._quit_command,
    b"STARTTLS": Session._starttls_command,
}
