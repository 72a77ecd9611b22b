"""The transactions of one session that are played through to the primary, and what becomes of them when it fails.

The primary's replies are the sender's, word for word, at MAIL, RCPT, DATA and the end of data; only the 2xx to the end
of data is always said as 250. Where the primary fails before its final reply the transaction goes on towards the queue,
with the recipients that it has, and the sender notices nothing. The content is spooled as it streams, so that there is
a copy to queue; once the primary has answered for the message nothing is queued. A sender that has gone before that
answer gets none, and keeps the message: nothing is queued for it either.

Each step is a task while the session waits; content is passed on in the callback that brings it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from fallback_mx.rules.disposition import Lost, NoConnection, Reply, Unfit
from fallback_mx.rules.handing_on import handed_on
from fallback_mx.smtp.passage import Crowded
from fallback_mx.smtp.through import Answer, Through
from fallback_mx.smtp.transaction import SHOWN_OUT

if TYPE_CHECKING:
    import asyncio

    from fallback_mx.smtp.listener import Listener
    from fallback_mx.smtp.session import Session
    from fallback_mx.smtp.transaction import Intake, Named, Transaction
    from mxqueue import Envelope

USE_PRIMARY = "451 4.3.2 The primary mail server is up, please use it"
NO_EIGHT_BIT = "the primary does not offer 8BITMIME"


class _Phase(Enum):
    ENVELOPE = auto()
    CONTENT = auto()
    END = auto()  # the end of data has come; whether the primary has it is being found out


class Proxied:
    """Made for a session's first such transaction. One connection, kept for the next ones, and closed with it."""

    def __init__(self, session: Session, listener: Listener) -> None:
        self._session = session
        self._listener = listener
        self._phase = _Phase.ENVELOPE
        self._through: Through | None = None
        self._primary = ""
        self._announced: Transaction | None = None
        self._envelope: Envelope | None = None
        self._unfit = False
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

    def lost(self) -> None:
        """The sender has gone. The answer to an end of data that was sent on is still heard, and told of."""
        if self._through is not None and self._phase is not _Phase.END:
            self._through.leave()

    @property
    def is_in_content(self) -> bool:
        return self._phase is _Phase.CONTENT

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

    def _cut(self, why: str) -> None:
        self._phase = _Phase.ENVELOPE
        if self._through is not None:
            self._through.cut(why)

    # The envelope -----------------------------------------------------------------------------------------------

    async def _on_mail(self, transaction: Transaction) -> None:
        try:
            answer = await self._announce(transaction)
        except Crowded:
            return self._forget(USE_PRIMARY, "primary_busy")
        if isinstance(answer, Lost):
            self._fall(transaction, answer)
            if transaction.is_shown_out:
                return self._forget(SHOWN_OUT, "primary")
            return self._session.answer("250 2.1.0 Sender ok")
        if isinstance(answer, Unfit):
            return self._forget(USE_PRIMARY, "unfit")
        if not answer.is_success:
            return self._forget(handed_on(answer, "2.1.0"), "primary")
        return self._session.answer(handed_on(answer, "2.1.0"))

    def _forget(self, reply: bytes | str, reason: str) -> None:
        """Refuse, and end the transaction with it."""
        self._session.forget_transaction()
        self._refuse(reply, reason)

    async def _on_recipient(self, transaction: Transaction, named: Named) -> None:
        try:
            answer: Answer | Unfit = Reply(250, "")
            if self._announced is not transaction:
                answer = await self._announce(transaction)
            if self._announced is transaction:
                assert self._through is not None
                answer = await self._through.recipient(named.address, named.request)
        except Crowded:
            return self._refuse(USE_PRIMARY, "primary_busy", named.address)
        if isinstance(answer, Unfit):
            return self._refuse(USE_PRIMARY, "unfit", named.address)
        if not isinstance(answer, Reply):
            self._fall(transaction, answer)
            if transaction.is_shown_out:
                return self._refuse(SHOWN_OUT, "primary", named.address)
            return None if self._session.is_gone else self._session.find_out(named)
        reply = handed_on(answer, "2.1.5")
        if not answer.is_success:
            return self._refuse(reply, "primary", named.address)
        transaction.take(named)
        return self._session.answer(reply)

    def _refuse(self, reply: bytes | str, reason: str, path: str = "") -> None:
        self._session.refused(reason, reply, path)
        self._session.answer(reply)

    async def _announce(self, transaction: Transaction) -> Answer | Unfit:
        """MAIL, on the connection of the transaction before where that still stands. Raises Crowded."""
        kept = self._kept_for(transaction.played)
        answer = await self._mail_on(kept, transaction) if kept is not None else None
        if kept is None or isinstance(answer, Lost):
            # What has ended between two transactions is a connection, and no primary.
            self._through = None
            passage = self._listener.passage_of(transaction.played)
            if passage is None:
                return Lost("it is no longer configured")
            try:
                self._through = await passage.open()
            except NoConnection as failure:
                return Lost(str(failure))
            self._primary = transaction.played
            answer = await self._mail_on(self._through, transaction)
        assert answer is not None
        if isinstance(answer, Reply) and answer.is_success:
            self._announced = transaction
        return answer

    def _kept_for(self, primary: str) -> Through | None:
        if self._through is None or not self._through.is_usable:
            return None
        if self._primary != primary:
            self._through.leave()
            return None
        return self._through

    @staticmethod
    async def _mail_on(through: Through, transaction: Transaction) -> Answer | Unfit:
        given = transaction.parameters
        if given.body == "8BITMIME" and not through.offers("8bitmime"):
            return Unfit(NO_EIGHT_BIT)
        if given.smtputf8 and not through.offers("smtputf8"):
            return Unfit("the primary does not offer SMTPUTF8")
        return await through.mail(transaction.reverse_path, given)

    def _fall(self, transaction: Transaction, lost: Lost) -> None:
        """The primary has failed: from here on the transaction goes towards the queue."""
        primary, through = transaction.played, self._through
        transaction.fallen, transaction.played = primary, ""
        if self._session.is_gone:
            return  # it may be we who have ended the connection
        if through is not None:
            through.cut(lost.detail)
            # One that goes after it has refused something may have shown this client the door.
            transaction.is_shown_out = through.has_refused
            passage = self._listener.passage_of(primary)
            if passage is not None and not through.has_refused:
                passage.failed(lost.detail)
        self._through = None
        self._listener.events.proxy_failed(primary, lost.detail, ambiguous=lost.ambiguous)

    # Content ----------------------------------------------------------------------------------------------------

    async def _on_data(self, transaction: Transaction) -> None:
        assert self._through is not None
        (envelope,) = self._session.envelopes(transaction)
        answer = await self._through.begin(envelope.trace)
        if self._session.is_gone:
            return None
        if isinstance(answer, Reply):
            return self._forget(handed_on(answer, "2.0.0"), "primary")
        if isinstance(answer, Lost):
            self._fall(transaction, answer)
        else:
            self._envelope, self._unfit, self._phase = envelope, False, _Phase.CONTENT
        self._session.ask_for_content()
        return self._session.go_on()

    def write(self, piece: bytes, intake: Intake) -> None:
        """A piece of content, its line ends looked at, for the spool and for the primary."""
        intake.write(piece)
        through = self._through
        if through is None or not through.is_usable:
            return
        if intake.fault:
            through.cut("the content is not taken")
        elif not (through.offers("8bitmime") or piece.isascii()):
            # It must not get there mangled (RFC 6152, section 3).
            self._unfit = True
            through.cut(NO_EIGHT_BIT)
        else:
            through.feed(piece)
            if through.is_choked:
                self._session.wait()
                self._pause = self._session.loop.create_task(self._wait_for_room(through))

    async def _wait_for_room(self, through: Through) -> None:
        await through.room()
        if not self._session.is_leaving:
            self._session.go_on()

    async def _on_end(self, transaction: Transaction, intake: Intake) -> None:
        assert self._through is not None
        assert self._envelope is not None
        answer = await self._through.end()
        self._phase = _Phase.ENVELOPE
        if self._unfit:
            self._forget(USE_PRIMARY, "unfit")
        elif isinstance(answer, Lost):
            self._fall(transaction, answer)
            self._queue(intake, answer)
        elif answer.is_success:
            self._listener.events.proxied(self._envelope, intake.octets, str(answer))
            self._session.forget_transaction()
            self._session.count_message()
            self._session.answer(handed_on(replace(answer, code=250), "2.0.0"))
        else:
            self._forget(handed_on(answer, "2.0.0"), "primary")

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
