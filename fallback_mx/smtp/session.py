"""One inbound session, from the greeting to QUIT (RFC 5321, section 4).

Nothing here answers 250 for content before the queue has committed it, and nothing the queue or this program suffers
is the sender's fault: it is 451 or 452, never 5xx, and never the text of an exception. A stream that two servers could
read differently is refused and closed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from fallback_mx.rules import trace
from fallback_mx.smtp import command_line, xclient
from fallback_mx.smtp.content import ContentReader, Untrusted
from fallback_mx.smtp.limits import FAULTS, TOO_SLOW, Tally
from fallback_mx.smtp.proxied import Proxied
from fallback_mx.smtp.transaction import NO_SPACE, Endless, Intake, Refusal, Transaction
from fallback_mx.smtp.wire import Wire
from mxqueue import Envelope, QueueFull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fallback_mx.smtp.listener import Listener

# A sender that goes on this far beyond the largest message is not going to stop by itself.
OVERRUN_OCTETS = 64 * 1024 * 1024

LOCAL_ERROR = "451 4.3.0 Temporary failure here, please try again later"


class Session(Wire):
    """A client's session. Made once for every connection: what all of them share lives in the Listener."""

    _commands: ClassVar[dict[bytes, Callable[[Session, str], None]]]

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.loop, listener.deadlines)
        self._listener = listener
        self._tally = Tally(listener.settings.session_limits)
        self.counted_as: str | None = None
        self._helo = ""
        self._esmtp = False
        self._transaction: Transaction | None = None
        self._intake: Intake | None = None
        self._queued_as = ""
        self._proxied: Proxied | None = None
        self._must_leave = False
        self._handshake: asyncio.Task[None] | None = None

    # Connection -------------------------------------------------------------------------------------------------

    def is_proxy(self, address: str) -> bool:
        return address in self._listener.settings.proxy_protocol_from

    def refuse_preface(self, address: str, why: str) -> None:
        self._listener.events.refused(address, "", "proxy_header", why)

    def opened(self) -> None:
        self._listener.opened(self)
        self._welcome()

    def _welcome(self) -> None:
        refusal = self._listener.refusal(self)
        if refusal:
            self.say(refusal)
            self.leave()
        else:
            self.say(f"220 {self._listener.settings.hostname} ESMTP Fallback MX")

    def lost(self) -> None:
        self._listener.closed(self)
        if self._proxied is not None:
            self._proxied.lost()
        self._drop_content()

    def timed_out(self) -> None:
        limit = "data_rate" if self.is_in_content else "timeout"
        self._listener.events.session_limit(self.client_address, limit)
        self.say(TOO_SLOW[limit])
        self._drop_content()

    def tell_to_leave(self) -> None:
        """The service stops: an idle client is told so now, a busy one after its command."""
        self._must_leave = True
        if self.is_idle:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        if not self.is_leaving:
            self.say(f"421 4.3.2 {self._listener.settings.hostname} is stopping, please try again")
            self.leave()

    # Commands ---------------------------------------------------------------------------------------------------

    def obey(self, line: bytes) -> None:
        verb, argument = command_line.split(line)
        command = self._commands.get(verb)
        if command is None:
            self._fault("500 5.5.2 Command not recognized")
        elif argument is None:
            self._fault("501 5.5.2 Only printable characters are understood here")
        else:
            try:
                command(self, argument)
            except Refusal as refusal:
                self._refuse(refusal)
            except Exception as error:
                # Nobody classified it: it is ours, and temporary.
                self._listener.events.trouble("session", error)
                self.say(LOCAL_ERROR)
                self.leave()
            if command in IDLE_COMMANDS:
                self._tally.idle()
        self._stop_junk()

    def _stop_junk(self) -> None:
        if self._tally.over and not self.is_leaving:
            self._send_away(self._tally.over)

    def _fault(self, reply: str) -> None:
        self._tally.error()
        self.say(reply)

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.reason:
            self._listener.events.refused(self.client_address, refusal.domain, refusal.reason, refusal.reply)
        if refusal.is_error:
            self._tally.error()
        elif refusal.reply.startswith("4"):
            self._tally.deferred()
        self.say(refusal.reply)

    def _send_away(self, limit: str) -> None:
        self._listener.events.session_limit(self.client_address, limit)
        self.say(self._tally.farewell)
        self.leave(mid_stream=True)

    def _on_helo(self, argument: str) -> None:
        if self._greet(argument, "HELO"):
            self._esmtp = False
            self.say(f"250 {self._listener.settings.hostname}")

    def _on_ehlo(self, argument: str) -> None:
        if self._greet(argument, "EHLO"):
            self._esmtp = True
            reply = self._listener.ehlo_reply(self.is_tls)
            self.say_raw(xclient.offered_in(reply) if self._may_xclient else reply)

    def _greet(self, argument: str, verb: str) -> bool:
        if not argument or " " in argument:
            self._fault(f"501 5.5.4 Syntax: {verb} hostname")
            return False
        self._helo = argument
        self._transaction = None
        return True

    @property
    def _may_xclient(self) -> bool:
        # By what the connection comes from: what was said by XCLIENT gives no right to say more.
        return self.peer_address in self._listener.settings.xclient_from

    def _on_xclient(self, argument: str) -> None:
        if not self._may_xclient:
            return self._fault("550 5.7.0 XCLIENT is not for this client")
        if self._transaction is not None:
            return self._fault("503 5.5.1 A mail transaction is under way")
        try:
            told = xclient.parse(argument)
        except xclient.BadAttribute as error:
            return self._fault(f"501 5.5.4 {error}")
        # The session begins anew, but for what has just been told.
        self._helo = told.helo or ""
        self._esmtp = told.protocol == "ESMTP"
        if told.address is not None:
            self.client_address = told.address or self.peer_address
        return self._welcome()

    def _on_mail(self, argument: str) -> None:
        if self._tally.is_full:
            self._send_away("messages")
            return
        if not self._helo:
            raise Refusal("503 5.5.1 Send EHLO first")
        if self._transaction is not None:
            raise Refusal("503 5.5.1 Nested MAIL command")
        self._transaction = Transaction.begin(argument, self._listener)
        if self._transaction.played:
            self._proxy().mail(self._transaction)
        else:
            self.say_raw(b"250 2.1.0 Sender ok\r\n")

    def _on_rcpt(self, argument: str) -> None:
        if self._transaction is None:
            raise Refusal("503 5.5.1 Send MAIL first")
        named = self._transaction.add(argument, self._listener)
        if named is not None:
            self._proxy().recipient(self._transaction, named)
        else:
            self.say_raw(b"250 2.1.5 Recipient ok\r\n")

    # What is played through ---------------------------------------------------------------------------------------

    def _proxy(self) -> Proxied:
        if self._proxied is None:
            self._proxied = Proxied(self, self._listener)
        return self._proxied

    @property
    def is_gone(self) -> bool:
        """Whether nobody hears any more what is said."""
        return self.transport is None

    def answer(self, reply: bytes | str) -> None:
        """Give the reply to a command that was waited for, and look at the next one."""
        if isinstance(reply, str):
            self.say(reply)
        else:
            self.say_raw(reply)
        self._stop_junk()
        if self._must_leave:
            self._say_goodbye()
        if not self.is_leaving:
            self.go_on()

    def count_message(self) -> None:
        """A message of this session was taken by the primary."""
        self._tally.message()

    def forget_transaction(self) -> None:
        self._drop_content()
        self._transaction = None

    def refused(self, reason: str, reply: bytes | str, path: str = "") -> None:
        """Tell of a refusal, and count it if it was one for good."""
        text = reply if isinstance(reply, str) else reply.decode("ascii").rstrip()
        if text.startswith("5"):
            self._tally.error()
        else:
            self._tally.deferred()
        self._listener.events.refused(self.client_address, path.rpartition("@")[2], reason, text)

    def fail(self, error: BaseException) -> None:
        """Something of ours went wrong with a command that was waited for."""
        self._listener.events.trouble("session", error)
        self._drop_content()
        self.say(LOCAL_ERROR)
        self.leave(mid_stream=True)

    def _on_rset(self, argument: str) -> None:
        self._transaction = None
        self.say("250 2.0.0 Ok")

    def _on_noop(self, argument: str) -> None:
        self.say("250 2.0.0 Ok")

    def _on_vrfy(self, argument: str) -> None:
        self.say("252 2.1.5 Send some mail and see")

    def _on_help(self, argument: str) -> None:
        self.say("214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP STARTTLS QUIT, see RFC 5321")

    def _on_quit(self, argument: str) -> None:
        self.say("221 2.0.0 Bye")
        self.leave()

    def _on_bdat(self, argument: str) -> None:
        # Its payload follows at once and must never be read as commands (RFC 3030).
        self.say("502 5.5.1 CHUNKING is not offered")
        self.leave(mid_stream=True)

    def _on_starttls(self, argument: str) -> None:
        context = self._listener.settings.tls_context
        if argument:
            return self._fault("501 5.5.4 Syntax: STARTTLS")
        if context is None:
            return self._fault("502 5.5.1 STARTTLS is not offered")
        if self.is_tls:
            return self._fault("503 5.5.1 TLS is already in use")
        self.wait()
        # What was learned in the clear is forgotten (RFC 3207, section 4.2).
        self._helo, self._transaction = "", None
        self._handshake = self.loop.create_task(self._start_tls(context))
        return None

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        # Said only now: between this reply and the handshake nothing may be read as input.
        self.say("220 2.0.0 Ready to start TLS")
        try:
            await self.encrypt(context)
        except (OSError, TimeoutError):
            return
        if self._must_leave:
            self._say_goodbye()
        self.go_on()

    # Content ----------------------------------------------------------------------------------------------------

    def _on_data(self, argument: str) -> None:
        if argument:
            return self._fault("501 5.5.4 Syntax: DATA")
        if self._transaction is None:
            return self._fault("503 5.5.1 Send MAIL first")
        if not self._transaction.recipients:
            return self._fault("554 5.5.1 No valid recipients")
        if self._transaction.played:
            return self._proxy().data(self._transaction)
        return self.ask_for_content()

    def ask_for_content(self) -> None:
        self._intake = Intake(self._listener.spool(), self._listener.bounds)
        self.say("354 End data with <CR><LF>.<CR><LF>")
        write = self._intake.write
        if self._proxied is not None and self._proxied.is_in_content:
            write = partial(self._proxied.write, intake=self._intake)
        self.read_content(ContentReader(write))

    def take(self, octets: int) -> None:
        assert self._intake is not None
        if self._intake.octets + octets > self._listener.settings.max_message_size + OVERRUN_OCTETS:
            raise Endless

    def refuse_stream(self, error: Exception) -> None:
        self._drop_content()
        if self._proxied is not None:
            self._proxied.refused()
        if isinstance(error, Untrusted):
            self._listener.events.refused(self.client_address, "", "line_ends", "554 5.6.0")
            self.say(f"554 5.6.0 {str(error)[:1].upper()}{str(error)[1:]}")
        elif isinstance(error, Endless):
            self._listener.events.refused(self.client_address, "", "size", "552 5.3.4")
            self.say("552 5.3.4 Message too large")
        else:
            self._listener.events.trouble("session", error)
            self.say(LOCAL_ERROR)
        self.leave(mid_stream=True)

    def content_ended(self) -> None:
        assert self._transaction is not None
        assert self._intake is not None
        is_played = self._proxied is not None and self._proxied.is_in_content
        refusal = self._object(self._intake)
        if refusal:
            self._drop_content()
            if self._proxied is not None:
                self._proxied.refused()
            self._end_transaction(refusal)
        elif is_played:
            self._proxy().ended(self._transaction, self._intake)
        elif self._intake.failed is not None:
            self._end_transaction(self.spool_failed(self._intake.failed))
        else:
            self.store(self.envelopes(self._transaction))

    def spool_failed(self, error: OSError) -> str:
        self._listener.events.trouble("spool", error)
        self._drop_content()
        return NO_SPACE

    def store(self, envelopes: Sequence[Envelope]) -> None:
        """Queue the message that has come, and answer once it is committed."""
        assert self._intake is not None
        # From here on the spool is the listener's: the commit goes on even if this session does not.
        spool, self._intake = self._intake.spool, None
        self.wait()
        self._queued_as = " ".join([envelope.id for envelope in envelopes])
        self._listener.commit(envelopes, spool, self._committed)

    def _object(self, intake: Intake) -> str:
        """Why the content as a whole is not taken, "" where it is."""
        if intake.fault:
            reply = FAULTS[intake.fault].format(self._listener.bounds)
            self._listener.events.refused(self.client_address, "", intake.fault, reply[:9])
            return reply
        if intake.hops > trace.MAX_HOPS:
            self._listener.events.refused(self.client_address, "", "loop", "554 5.4.6")
            return "554 5.4.6 Too many hops: this message has been going in circles"
        return ""

    def envelopes(self, transaction: Transaction) -> list[Envelope]:
        return transaction.envelopes(
            self._listener,
            client_address=self.client_address,
            helo=self._helo,
            is_esmtp=self._esmtp,
            is_tls=self.is_tls,
        )

    def _committed(self, error: Exception | None) -> None:
        """The commit is over, one way or the other: this is the reply to the final dot."""
        if error is None:
            self._tally.message()
            reply = f"250 2.0.0 Queued as {self._queued_as}"
        else:
            self._listener.events.trouble("queue", error)
            reply = NO_SPACE if isinstance(error, QueueFull) else LOCAL_ERROR
        if self.transport is not None:
            self._end_transaction(reply)
            self.go_on()

    def _end_transaction(self, reply: str) -> None:
        self._transaction = None
        self.say(reply)
        if self._must_leave:
            self._say_goodbye()

    def _drop_content(self) -> None:
        if self._intake is not None:
            self._intake.spool.close()
            self._intake = None


Session._commands = {
    b"EHLO": Session._on_ehlo,
    b"HELO": Session._on_helo,
    b"MAIL": Session._on_mail,
    b"RCPT": Session._on_rcpt,
    b"DATA": Session._on_data,
    b"BDAT": Session._on_bdat,
    b"RSET": Session._on_rset,
    b"NOOP": Session._on_noop,
    b"VRFY": Session._on_vrfy,
    b"HELP": Session._on_help,
    b"QUIT": Session._on_quit,
    b"STARTTLS": Session._on_starttls,
    b"XCLIENT": Session._on_xclient,
}
# Those that bring no mail nearer.
IDLE_COMMANDS = frozenset(
    Session._commands[verb] for verb in (b"EHLO", b"HELO", b"RSET", b"NOOP", b"VRFY", b"HELP", b"XCLIENT")
)
