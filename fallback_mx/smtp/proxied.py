"""The transactions of one session that are played through to the primary, and what becomes of them when it fails.

The primary's replies are the sender's, word for word, at MAIL, RCPT, DATA and the end of data; only the 2xx to the end
of data is always said as 250, and a 421, which ends our connection and not the sender's, as 451. What counts as the
primary's reply, and when it has failed, fallback_mx.smtp.crossing says. Where it has failed the transaction goes on
towards the queue, with the recipients that it has, and the sender notices nothing. The content is spooled as it
streams, so that there is a copy to queue; once the primary has answered for the message, at its end or before, the copy
is dropped and nothing is queued. A sender that has gone before that answer gets none, and keeps the message: nothing is
queued for it either.

Each step is a task while the session waits; content is passed on in the callback that brings it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from fallback_mx.rules.disposition import Lost, Unfit
from fallback_mx.rules.handing_on import handed_on
from fallback_mx.smtp.crossing import NO_EIGHT_BIT, Crossing, Outcome
from fallback_mx.smtp.departure import departure
from fallback_mx.smtp.passage import Crowded
from fallback_mx.smtp.transaction import SHOWN_OUT

if TYPE_CHECKING:
    import asyncio

    from fallback_mx.smtp.listener import Listener
    from fallback_mx.smtp.passage import Way
    from fallback_mx.smtp.session import Session
    from fallback_mx.smtp.through import Through
    from fallback_mx.smtp.transaction import Intake, Named, Transaction
    from mxqueue import Envelope

USE_PRIMARY = "451 4.3.2 The primary mail server is up, please use it"
# Content that comes slower than so many octets in `stalled_seconds` is no progress where others wait.
PROGRESS_OCTETS = 32 * 1024


class _Phase(Enum):
    ENVELOPE = auto()
    CONTENT = auto()
    END = auto()  # the end of data has come; whether the primary has it is being found out


class Proxied:
    """Made for a session's first such transaction. Its way to the primary is kept for the next ones, if they come soon,
    and goes with the session."""

    def __init__(self, session: Session, listener: Listener) -> None:
        self._session = session
        self._listener = listener
        self._phase = _Phase.ENVELOPE
        self._crossing: Crossing | None = None
        self._envelope: Envelope | None = None
        self._unfit = False
        self._octets = 0
        self._task: asyncio.Task[None] | None = None
        self._pause: asyncio.Task[None] | None = None

    # Steps ------------------------------------------------------------------------------------------------------

    def mail(self, transaction: Transaction) -> None:
        """Play MAIL through, where it is known already that the recipients can only be this primary's."""
        self._run(self._on_mail(transaction))

    def recipient(self, transaction: Transaction, named: Named) -> None:
        """Play RCPT through, and MAIL before it where that has not been done."""
        self._run(self._on_recipient(transaction, named))

    def data(self, transaction: Transaction) -> None:
        """Play DATA through; then the session reads content into `write`."""
        self._run(self._on_data(transaction))

    def ended(self, transaction: Transaction, intake: Intake) -> None:
        """The end of data has come: let the primary have it, and answer, or queue the message."""
        self._phase = _Phase.END
        if self._pause is not None:
            # What is waited for from now on is the answer.
            self._pause.cancel()
        self._run(self._on_end(transaction, intake))

    def refused(self) -> None:
        """This content is not taken: the primary must not have it either."""
        if self.is_in_content:
            self._cut("the content was refused")
            self.rest()

    def rest(self) -> None:
        """The session has no transaction in hand."""
        if self._crossing is not None and (self._task is None or self._task.done()):
            self._crossing.rest()

    def lost(self) -> None:
        """The sender has gone. The answer to an end of data that was sent on is still heard, and told of."""
        if self._phase is not _Phase.END and (way := self._way) is not None:
            way.give_up()

    @property
    def is_in_content(self) -> bool:
        return self._phase is _Phase.CONTENT

    @property
    def _way(self) -> Way | None:
        return None if self._crossing is None else self._crossing.way

    @property
    def _through(self) -> Through | None:
        """The connection that content goes to, None where there is none any more."""
        way = self._way
        return None if way is None or way.through is None or not way.through.is_usable else way.through

    def _run(self, step: Coroutine[None, None, None]) -> None:
        self._session.wait()
        self._task = self._session.loop.create_task(step)
        self._task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._cut("our own failure")
            self._session.fail(error)
        if self._session.is_gone:
            self.lost()
        elif task is self._task and self._session.transaction is None:
            self.rest()

    def _cut(self, why: str) -> None:
        self._phase = _Phase.ENVELOPE
        if (through := self._through) is not None:
            through.cut(why)

    # The envelope -----------------------------------------------------------------------------------------------

    def _crossing_of(self, transaction: Transaction) -> Crossing | None:
        """This transaction at the primary it is played through to, None where that is no longer configured."""
        crossing = self._crossing
        if crossing is None or crossing.transaction is not transaction or crossing.primary != transaction.played:
            way = self._way
            if crossing is not None and way is not None and crossing.primary != transaction.played:
                way.give_up()
                way = None
            passage = self._listener.passage_of(transaction.played)
            if passage is None:
                return None
            session = self._session
            crossing = Crossing(transaction, passage, session.client_address, way, lambda: not session.is_gone)
            self._crossing = crossing
        return crossing

    async def _on_mail(self, transaction: Transaction) -> None:
        answer: Outcome = GONE
        try:
            if (crossing := self._crossing_of(transaction)) is not None:
                answer = await crossing.mail()
        except Crowded:
            return self._forget(USE_PRIMARY, "primary_busy")
        if isinstance(answer, Lost):
            self._fall(transaction, answer)
            return self._session.answer("250 2.1.0 Sender ok")
        if isinstance(answer, Unfit):
            return self._forget(USE_PRIMARY, "unfit")
        if not answer.is_success:
            return self._forget(handed_on(answer, "2.1.0"), "primary")
        return self._go_on(handed_on(answer, "2.1.0"))

    def _forget(self, reply: bytes | str, reason: str) -> None:
        """Refuse, and end the transaction with it."""
        self._session.forget_transaction()
        self._refuse(reply, reason)

    async def _on_recipient(self, transaction: Transaction, named: Named) -> None:
        answer: Outcome = GONE
        try:
            if (crossing := self._crossing_of(transaction)) is not None:
                answer = await crossing.recipient(named)
        except Crowded:
            return self._refuse(USE_PRIMARY, "primary_busy", named.address)
        if isinstance(answer, Unfit):
            return self._refuse(USE_PRIMARY, "unfit", named.address)
        if isinstance(answer, Lost):
            self._fall(transaction, answer)
            return None if self._session.is_gone else self._session.find_out(named)
        reply = handed_on(answer, "2.1.5")
        if not answer.is_success:
            return self._refuse(reply, "primary", named.address)
        transaction.take(named)
        return self._go_on(reply)

    def _go_on(self, reply: bytes) -> None:
        """One step further: hand on what the primary says to it."""
        if self._crossing is not None:
            self._crossing.wait(has_moved=True)
        self._session.answer(reply)

    def _refuse(self, reply: bytes | str, reason: str, path: str = "") -> None:
        if self._crossing is not None:
            self._crossing.wait()
        self._session.refused(reason, reply, path)
        self._session.answer(reply)

    def _fall(self, transaction: Transaction, lost: Lost) -> None:
        """The primary has failed: from here on the transaction goes towards the queue."""
        primary = transaction.played
        transaction.fallen, transaction.played = primary, ""
        if self._session.is_gone:
            return  # it may be we who have ended the connection
        if (way := self._way) is not None:
            way.give_up()
        self._listener.events.proxy_failed(primary, lost.detail, ambiguous=lost.ambiguous)

    # Content ----------------------------------------------------------------------------------------------------

    async def _on_data(self, transaction: Transaction) -> None:
        if transaction.is_shown_out:
            return self._forget(SHOWN_OUT, "primary")
        crossing = self._crossing_of(transaction)
        (envelope,) = self._session.envelopes(transaction)
        answer: Outcome | None = GONE
        try:
            if crossing is not None:
                answer = await crossing.data(envelope.trace)
        except Crowded:
            return self._forget(USE_PRIMARY, "primary_busy")
        if self._session.is_gone:
            return None
        if isinstance(answer, Unfit):
            return self._forget(USE_PRIMARY, "unfit")
        if isinstance(answer, Lost):
            self._fall(transaction, answer)
        elif answer is not None:
            return self._forget(handed_on(answer, "2.0.0"), "primary")
        elif crossing is not None:
            crossing.wait(has_moved=True)
            self._envelope, self._unfit, self._octets, self._phase = envelope, False, 0, _Phase.CONTENT
        self._session.ask_for_content()
        return self._session.go_on()

    def write(self, piece: bytes, intake: Intake) -> None:
        """A piece of content, its line ends looked at, for the spool and for the primary."""
        intake.write(piece)
        way = self._way
        assert way is not None
        assert way.through is not None
        through = way.through
        if intake.fault:
            if through.is_usable:
                through.cut("the content is not taken")
        elif not (through.offers("8bitmime") or piece.isascii()):
            # It must not get there mangled (RFC 6152, section 3).
            self._unfit = True
            if through.is_usable:
                through.cut(NO_EIGHT_BIT)
        elif way.is_over or through.has_answered:
            intake.drop()
        elif through.is_usable:
            self._pass_on(piece, way, through)

    def _pass_on(self, piece: bytes, way: Way, through: Through) -> None:
        through.feed(piece)
        before, self._octets = self._octets, self._octets + len(piece)
        if before // PROGRESS_OCTETS != self._octets // PROGRESS_OCTETS:
            way.wait(has_moved=True)
        if through.is_choked:
            way.work()
            self._session.wait()
            self._pause = self._session.loop.create_task(self._wait_for_room(way, through))

    async def _wait_for_room(self, way: Way, through: Through) -> None:
        # Meanwhile the session may read no more, and then would not see its client go.
        with departure(self._session.transport, self._session.abort):
            await through.room()
        way.wait(has_moved=True)
        if not self._session.is_leaving:
            self._session.go_on()

    async def _on_end(self, transaction: Transaction, intake: Intake) -> None:
        assert self._crossing is not None
        assert self._envelope is not None
        if self._unfit:
            self._phase = _Phase.ENVELOPE
            return self._forget(USE_PRIMARY, "unfit")
        answer = await self._crossing.end()
        self._phase = _Phase.ENVELOPE
        if isinstance(answer, Lost):
            self._fall(transaction, answer)
            return self._queue(intake, answer)
        if not answer.is_success:
            return self._forget(handed_on(answer, "2.0.0"), "primary")
        self._listener.events.proxied(self._envelope, intake.octets, str(answer))
        self._session.forget_transaction()
        self._session.count_message()
        return self._session.answer(handed_on(replace(answer, code=250), "2.0.0"))

    def _queue(self, intake: Intake, lost: Lost) -> None:
        assert self._envelope is not None
        if self._session.is_gone:
            return
        if intake.failed is not None:
            self._session.forget_transaction()
            self._session.answer(self._session.spool_failed(intake.failed))
            return
        doubt = f"no reply to the end of data: {lost.detail}" if lost.ambiguous else ""
        self._session.store([self._envelope._replace(ambiguous=doubt)])


GONE = Lost("it is no longer configured")
