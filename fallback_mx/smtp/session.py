"""One inbound session, from the greeting to QUIT (RFC 5321, section 4): its life, and who obeys which command.

What goes wrong while a command is obeyed is ours unless somebody has classified it: 451, never 5xx, and never the text
of an exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fallback_mx.smtp import asides, command_line, etrn, hello
from fallback_mx.smtp.judgement import Case
from fallback_mx.smtp.limits import TOO_SLOW
from fallback_mx.smtp.proxied import Proxied
from fallback_mx.smtp.reception import LOCAL_ERROR, Reception
from fallback_mx.smtp.transaction import Refusal, Transaction
from fallback_mx.smtp.vestibule import Vestibule

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Listener
    from fallback_mx.smtp.transaction import Named

RECIPIENT_OK = b"250 2.1.5 Recipient ok\r\n"


class Session(Reception):
    """A client's session. Made once for every connection: what all of them share lives in the Listener."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self.counted_as: str | None = None
        self.handshake: asyncio.Task[None] | None = None
        self._must_leave = False

    # Connection -------------------------------------------------------------------------------------------------

    def is_proxy(self, address: str) -> bool:
        return address in self.listener.settings.proxy_protocol_from

    def refuse_preface(self, address: str, why: str) -> None:
        self.listener.events.refused(address, "", "proxy_header", why)

    def opened(self) -> None:
        self.listener.opened(self)
        self.welcome(is_new=True)

    def welcome(self, *, is_new: bool = False) -> None:
        refusal = self.listener.refusal(self)
        if refusal:
            self.say(refusal)
            self.leave()
        elif is_new and (delay_seconds := self.listener.greeting_delay_seconds):
            Vestibule(self, delay_seconds)
        else:
            self.greet()

    def greet(self) -> None:
        self.say_raw(self.listener.greeting)

    def spoke_early(self, reply: str) -> None:
        self.listener.events.session_limit(self.client_address, "early_talker")
        self.say(reply)
        self.leave(mid_stream=True)

    def lost(self) -> None:
        self.listener.closed(self)
        if self._proxied is not None:
            self._proxied.lost()
        self.drop_content()

    def timed_out(self) -> None:
        limit = "data_rate" if self.is_in_content else "timeout"
        self.listener.events.session_limit(self.client_address, limit)
        self.say(TOO_SLOW[limit])
        self.drop_content()

    def tell_to_leave(self) -> None:
        """The service stops: an idle client is told so now, a busy one after its command."""
        self._must_leave = True
        if self.is_idle:
            self.leave_if_told()

    def leave_if_told(self) -> None:
        if self._must_leave and not self.is_leaving:
            self.say(f"421 4.3.2 {self.listener.settings.hostname} is stopping, please try again")
            self.leave()

    # Commands ---------------------------------------------------------------------------------------------------

    def obey(self, line: bytes) -> None:
        verb, argument = command_line.split(line)
        command = COMMANDS.get(verb)
        if command is None:
            self.fault("500 5.5.2 Command not recognized")
        elif argument is None and verb != b"BDAT":
            self.fault("501 5.5.2 Only printable characters are understood here")
        else:
            try:
                command(self, argument or "")
            except Refusal as refusal:
                self._refuse(refusal)
            except Exception as error:
                # Nobody classified it: it is ours, and temporary.
                self.listener.events.trouble("session", error)
                self.say(LOCAL_ERROR)
                self.leave()
            if command in IDLE_COMMANDS:
                self.tally.idle()
        if self.tally.over:
            self._stop_junk()

    def _stop_junk(self) -> None:
        if self.tally.over and not self.is_leaving:
            self._send_away(self.tally.over)

    def fault(self, reply: str) -> None:
        """Refuse a command that is a mistake of the client's."""
        self.tally.error()
        self.say(reply)

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.reason:
            self.listener.events.refused(self.client_address, refusal.domain, refusal.reason, refusal.reply)
        if refusal.is_error:
            self.tally.error()
        elif refusal.reply.startswith("4"):
            self.tally.deferred()
        self.say(refusal.reply)

    def _send_away(self, limit: str) -> None:
        self.listener.events.session_limit(self.client_address, limit)
        self.say(self.tally.farewell)
        self.leave(mid_stream=True)

    # Mail -------------------------------------------------------------------------------------------------------

    def _on_mail(self, argument: str) -> None:
        if self.tally.is_full:
            self._send_away("messages")
            return
        if not self.helo:
            raise Refusal("503 5.5.1 Send EHLO first")
        if self.transaction is not None:
            raise Refusal("503 5.5.1 Nested MAIL command")
        self.transaction = Transaction.begin(argument, self.listener)
        if self.transaction.played:
            self._proxy().mail(self.transaction)
        else:
            self.say_raw(b"250 2.1.0 Sender ok\r\n")

    def _on_rcpt(self, argument: str) -> None:
        if self.transaction is None:
            raise Refusal("503 5.5.1 Send MAIL first")
        named = self.transaction.name(argument, self.listener, self.client_address)
        if named is None:
            self.say_raw(RECIPIENT_OK)
        elif self.transaction.is_for_primary(named):
            self._proxy().recipient(self.transaction, named)
        else:
            judge = self.listener.judge
            if not judge.asks_about(named.route) or judge.takes_at_once(self._case(named)):
                self._take(named)
            else:
                self.find_out(named)

    def find_out(self, named: Named) -> None:
        """Answer RCPT once it is known whether this recipient is to be queued."""
        self.wait()
        self.listener.judge.judge(self._case(named), partial(self._judged, named))

    def _case(self, named: Named) -> Case:
        assert self.transaction is not None
        return Case(self.client_address, self.transaction.reverse_path, named)

    def _judged(self, named: Named, objection: Exception | None) -> None:
        if self.is_gone or self.is_leaving:
            return
        if objection is not None and not isinstance(objection, Refusal):
            self.fail(objection)
            return
        if objection is None:
            self._take(named)
        else:
            self._refuse(objection)
        self._answered()

    def _take(self, named: Named) -> None:
        assert self.transaction is not None
        self.transaction.take(named)
        if named.has_grace:
            self.listener.events.let_in(self.client_address, named.address, named.route.name, "grace")
        self.say_raw(RECIPIENT_OK)

    def _on_data(self, argument: str) -> None:
        if argument:
            return self.fault("501 5.5.4 Syntax: DATA")
        if self.transaction is None:
            return self.fault("503 5.5.1 Send MAIL first")
        if not self.transaction.recipients:
            return self.fault("554 5.5.1 No valid recipients")
        if self.transaction.played:
            return self._proxy().data(self.transaction)
        return self.ask_for_content()

    # What is played through ---------------------------------------------------------------------------------------

    def _proxy(self) -> Proxied:
        if self._proxied is None:
            self._proxied = Proxied(self, self.listener)
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
        self._answered()

    def _answered(self) -> None:
        self._stop_junk()
        self.leave_if_told()
        if not self.is_leaving:
            self.go_on()

    def count_message(self) -> None:
        """A message of this session was taken by the primary."""
        self.tally.message()

    def forget_transaction(self) -> None:
        self.drop_content()
        self.transaction = None

    def refused(self, reason: str, reply: bytes | str, path: str = "") -> None:
        """Tell of a refusal, and count it if it was one for good."""
        text = reply if isinstance(reply, str) else reply.decode("ascii").rstrip()
        if text.startswith("5"):
            self.tally.error()
        else:
            self.tally.deferred()
        self.listener.events.refused(self.client_address, path.rpartition("@")[2], reason, text)

    def fail(self, error: BaseException) -> None:
        """Something of ours went wrong with a command that was waited for."""
        self.listener.events.trouble("session", error)
        self.drop_content()
        self.say(LOCAL_ERROR)
        self.leave(mid_stream=True)


COMMANDS: dict[bytes, Callable[[Session, str], None]] = {
    b"EHLO": hello.on_ehlo,
    b"HELO": hello.on_helo,
    b"MAIL": Session._on_mail,
    b"RCPT": Session._on_rcpt,
    b"DATA": Session._on_data,
    b"BDAT": asides.on_bdat,
    b"RSET": asides.on_rset,
    b"NOOP": asides.on_noop,
    b"VRFY": asides.on_vrfy,
    b"EXPN": asides.on_expn,
    b"HELP": asides.on_help,
    b"QUIT": asides.on_quit,
    b"STARTTLS": hello.on_starttls,
    b"XCLIENT": hello.on_xclient,
    b"ETRN": etrn.on_etrn,
}
# Those that bring no mail nearer.
IDLE_COMMANDS = frozenset(
    COMMANDS[verb] for verb in (b"EHLO", b"HELO", b"RSET", b"NOOP", b"VRFY", b"EXPN", b"HELP", b"XCLIENT", b"ETRN")
)
