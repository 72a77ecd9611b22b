"""One inbound session, from the greeting to QUIT (RFC 5321, section 4).

Nothing here answers 250 for content before the queue has committed it, and nothing the queue or this program suffers
is the sender's fault: it is 451 or 452, never 5xx, and never the text of an exception. A stream that two servers could
read differently is refused and closed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from fallback_mx.rules import trace
from fallback_mx.rules.admission import Verdict, admit
from fallback_mx.smtp.content import ContentReader, Untrusted
from fallback_mx.smtp.paths import BadPath, Path, parse
from fallback_mx.smtp.transaction import Endless, Intake, Transaction
from fallback_mx.smtp.wire import Wire
from mxqueue import Envelope, QueueFull, Spool

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Listener

ERROR_LIMIT = 20
# A sender that goes on this far beyond the largest message is not going to stop by itself.
OVERRUN_OCTETS = 64 * 1024 * 1024

LOCAL_ERROR = "451 4.3.0 Temporary failure here, please try again later"
NO_SPACE = "452 4.3.1 No room for mail here at the moment, please try again later"


class Session(Wire):
    """A client's session. Made once for every connection: what all of them share lives in the Listener."""

    _commands: ClassVar[dict[bytes, Callable[[Session, str], None]]]

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.loop)
        self._listener = listener
        self._errors = 0
        self._helo = ""
        self._esmtp = False
        self._transaction: Transaction | None = None
        self._intake: Intake | None = None
        self._queued_as = ""
        self._must_leave = False
        self._handshake: asyncio.Task[None] | None = None

    # Connection -------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        self._listener.opened(self)
        refusal = self._listener.refusal()
        if refusal:
            self.say(refusal)
            self.leave()
        else:
            self.say(f"220 {self._listener.settings.hostname} ESMTP Fallback MX")

    def lost(self) -> None:
        self._listener.closed(self)
        self._drop_content()

    def timed_out(self) -> None:
        self._listener.events.session_limit(self.client_address, "timeout")

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
        verb, _, argument = line.partition(b" ")
        command = self._commands.get(verb) or self._commands.get(verb.upper())
        if command is None:
            self._fault("500 5.5.2 Command not recognized")
        elif not (argument.isascii() and (text := argument.decode("ascii").strip(" ")).isprintable()):
            self._fault("501 5.5.2 Only printable ASCII is understood here")
        else:
            try:
                command(self, text)
            except Exception as error:
                # Nobody classified it: it is ours, and temporary.
                self._listener.events.trouble("session", error)
                self.say(LOCAL_ERROR)
                self.leave()
        if self._errors >= ERROR_LIMIT and not self.is_leaving:
            self._listener.events.session_limit(self.client_address, "errors")
            self.say("421 4.7.0 Too many errors")
            self.leave(mid_stream=True)

    def _fault(self, reply: str) -> None:
        self._errors += 1
        self.say(reply)

    def _on_helo(self, argument: str) -> None:
        if self._greet(argument, "HELO"):
            self._esmtp = False
            self.say(f"250 {self._listener.settings.hostname}")

    def _on_ehlo(self, argument: str) -> None:
        if self._greet(argument, "EHLO"):
            self._esmtp = True
            self.say_raw(self._listener.ehlo_reply(self.is_tls))

    def _greet(self, argument: str, verb: str) -> bool:
        if not argument or " " in argument:
            self._fault(f"501 5.5.4 Syntax: {verb} hostname")
            return False
        self._helo = argument
        self._transaction = None
        return True

    def _on_mail(self, argument: str) -> None:
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
            return self.say(f"552 5.3.4 Message too large, at most {settings.max_message_size} octets are taken")
        if not self._listener.has_room(size):
            self._listener.events.refused(self.client_address, "", "space", "452 4.3.1")
            return self.say(NO_SPACE)
        reverse_path = parsed.path.address if parsed.path is not None else ""
        self._transaction = Transaction(reverse_path, body)
        return self.say("250 2.1.0 Sender ok")

    def _on_rcpt(self, argument: str) -> None:
        if self._transaction is None:
            return self._fault("503 5.5.1 Send MAIL first")
        try:
            parsed = parse(argument, "TO")
        except BadPath as error:
            return self._fault(f"501 5.1.3 {error}")
        if parsed.parameters:
            return self._fault(f"555 5.5.4 {next(iter(parsed.parameters))} is not supported")
        assert parsed.path is not None
        reason, reply = self._judge(self._transaction, parsed.path)
        if reason:
            self._listener.events.refused(self.client_address, parsed.path.domain, reason, reply)
        if reply.startswith("5"):
            self._errors += 1
        return self.say(reply)

    def _judge(self, transaction: Transaction, path: Path) -> tuple[str, str]:
        """Take or refuse one recipient: why it is refused ("" when taken), and the reply."""
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
        recipients = transaction.recipients
        if address not in recipients and len(recipients) >= settings.max_recipients:
            return "recipients", "452 4.5.3 Too many recipients, please send the rest separately"
        recipients[address] = route
        return "", "250 2.1.5 Recipient ok"

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
        settings = self._listener.settings
        self._intake = Intake(Spool(settings.spool_directory), settings.max_message_size)
        self.say("354 End data with <CR><LF>.<CR><LF>")
        return self.read_content(ContentReader(self._intake.write))

    def take(self, octets: int) -> None:
        assert self._intake is not None
        if self._intake.octets + octets > self._listener.settings.max_message_size + OVERRUN_OCTETS:
            raise Endless

    def refuse_stream(self, error: Exception) -> None:
        self._drop_content()
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
        refusal = self._object(self._intake)
        if refusal:
            self._drop_content()
            self._end_transaction(refusal)
            return
        # From here on the spool is the listener's: the commit goes on even if this session does not.
        spool, self._intake = self._intake.spool, None
        self.wait()
        envelopes = self._envelopes(self._transaction)
        self._queued_as = " ".join([envelope.id for envelope in envelopes])
        self._listener.commit(envelopes, spool, self._committed)

    def _object(self, intake: Intake) -> str:
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

    def _envelopes(self, transaction: Transaction) -> list[Envelope]:
        """One envelope for every route that the recipients are on: committed together, or not at all."""
        paths: dict[str, list[str]] = {}
        for address, route in transaction.recipients.items():
            paths.setdefault(route.name, []).append(address)
        protocol = ("ESMTPS" if self.is_tls else "ESMTP") if self._esmtp else "SMTP"
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

    def _committed(self, error: Exception | None) -> None:
        """The commit is over, one way or the other: this is the reply to the final dot."""
        if error is None:
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
}
