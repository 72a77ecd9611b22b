"""The content of a message, from the 354 to the reply to its end (RFC 5321, sections 4.1.1.4 and 4.2.5).

Nothing here answers 250 before the queue has committed the message, and nothing the queue or this program suffers is
the sender's fault: it is 451 or 452, never 5xx, and never the text of an exception. A stream that two servers could
read differently is refused and closed.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from fallback_mx.rules import trace
from fallback_mx.smtp.content import ContentReader, Untrusted
from fallback_mx.smtp.limits import FAULTS, Tally
from fallback_mx.smtp.transaction import NO_SPACE, Endless, Intake, Transaction
from fallback_mx.smtp.wire import Wire
from mxqueue import Envelope, QueueFull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fallback_mx.smtp.listener import Listener
    from fallback_mx.smtp.proxied import Proxied

# A sender that goes on this far beyond the largest message is not going to stop by itself.
OVERRUN_OCTETS = 64 * 1024 * 1024

LOCAL_ERROR = "451 4.3.0 Temporary failure here, please try again later"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Reception(Wire):
    """A connection with a mail transaction on it: the part of a session that takes content."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.loop, listener.deadlines)
        self.listener = listener
        self.tally = Tally(listener.settings.session_limits)
        self.helo = ""
        self.is_esmtp = False
        self.transaction: Transaction | None = None
        self._proxied: Proxied | None = None
        self._intake: Intake | None = None
        self._queued_as = ""

    @abstractmethod
    def leave_if_told(self) -> None:
        """A command is done: say goodbye where the service stops."""

    def ask_for_content(self) -> None:
        assert self.transaction is not None
        self._intake = Intake(self.listener.spool(), self.listener.bounds_of(self.transaction))
        self.say_raw(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        write = self._intake.write
        if self._proxied is not None and self._proxied.is_in_content:
            write = partial(self._proxied.write, intake=self._intake)
        self.read_content(ContentReader(write))

    def take(self, octets: int) -> None:
        assert self._intake is not None
        if self._intake.octets + octets > self.listener.settings.max_message_size + OVERRUN_OCTETS:
            raise Endless

    def refuse_stream(self, error: Exception) -> None:
        self.drop_content()
        if self._proxied is not None:
            self._proxied.refused()
        if isinstance(error, Untrusted):
            self.listener.events.refused(self.client_address, "", "line_ends", "554 5.6.0")
            self.say(f"554 5.6.0 {str(error)[:1].upper()}{str(error)[1:]}")
        elif isinstance(error, Endless):
            self.listener.events.refused(self.client_address, "", "size", "552 5.3.4")
            self.say("552 5.3.4 Message too large")
        else:
            self.listener.events.trouble("session", error)
            self.say(LOCAL_ERROR)
        self.leave(mid_stream=True)

    def content_ended(self) -> None:
        assert self.transaction is not None
        assert self._intake is not None
        is_played = self._proxied is not None and self._proxied.is_in_content
        refusal = self._object(self._intake)
        if refusal:
            self.drop_content()
            if self._proxied is not None:
                self._proxied.refused()
            self._end_transaction(refusal)
        elif is_played:
            assert self._proxied is not None
            self._proxied.ended(self.transaction, self._intake)
        elif self._intake.failed is not None:
            self._end_transaction(self.spool_failed(self._intake.failed))
        else:
            self.store(self.envelopes(self.transaction))

    def spool_failed(self, error: OSError) -> str:
        """What is said to it: not every trouble with files is one of room."""
        self.listener.events.trouble("spool", error)
        self.drop_content()
        return NO_SPACE if error.errno in _NO_ROOM else LOCAL_ERROR

    def store(self, envelopes: Sequence[Envelope]) -> None:
        """Queue the message that has come, and answer once it is committed."""
        assert self._intake is not None
        # From here on the spool is the listener's: the commit goes on even if this session does not.
        spool, self._intake = self._intake.spool, None
        self.wait()
        self._queued_as = " ".join([envelope.id for envelope in envelopes])
        self.listener.commit(envelopes, spool, self._committed)

    def _object(self, intake: Intake) -> str:
        """Why the content as a whole is not taken, "" where it is."""
        if intake.fault:
            reply = FAULTS[intake.fault].format(intake.bounds)
            self.listener.events.refused(self.client_address, "", intake.fault, reply[:9])
            return reply
        if intake.hops > trace.MAX_HOPS:
            self.listener.events.refused(self.client_address, "", "loop", "554 5.4.6")
            return "554 5.4.6 Too many hops: this message has been going in circles"
        return ""

    def envelopes(self, transaction: Transaction) -> list[Envelope]:
        return transaction.envelopes(
            self.listener,
            client_address=self.client_address,
            helo=self.helo,
            is_esmtp=self.is_esmtp,
            is_tls=self.is_tls,
        )

    def _committed(self, error: Exception | None) -> None:
        """The commit is over, one way or the other: this is the reply to the final dot."""
        if error is None:
            self.tally.message()
            reply = f"250 2.0.0 Queued as {self._queued_as}"
        else:
            self.listener.events.trouble("queue", error)
            reply = NO_SPACE if isinstance(error, QueueFull) else LOCAL_ERROR
        if self.transport is not None:
            self._end_transaction(reply)
            self.go_on()

    def _end_transaction(self, reply: str) -> None:
        self.transaction = None
        self.say(reply)
        self.leave_if_told()

    def reset(self) -> None:
        """The transaction in hand, if there is one, is none any more."""
        self.transaction = None
        if self._proxied is not None:
            self._proxied.rest()

    def drop_content(self) -> None:
        if self._intake is not None:
            self._intake.spool.close()
            self._intake = None
