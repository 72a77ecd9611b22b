"""One transaction at the primary, from MAIL to the end of data: what can be said again of it (RFC 5321, section 3.3).

A primary may end a connection whenever it likes: because its sender was idle, by policy, because it stops. Nobody who
sends may turn that into a failure of the primary's, for then its mail would be queued, past what the primary says of
it. So before the content a command that got no reply, or 421, is said again on another connection, behind all that was
taken of the envelope so far; once a transaction. What comes then is the answer. Where nothing comes again, or the
primary no longer takes what it took, the transaction is over: 451, and the sender may come again. Only where there is
no other connection to be had the primary has failed: that is Lost, and the message is for the queue.

Within the content there is no second time. A refusal is an answer there too. Without one another connection is opened,
to see if the primary is there: if it is, 451. Behind the end of data it is Lost, and ambiguous; but a 421 is a reply:
the primary has not taken the message, so 451, and the sender still has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fallback_mx.rules.disposition import Lost, NoConnection, Reply, Unfit
from fallback_mx.rules.neighbours import allotment_of
from fallback_mx.smtp.through import Answer, Through
from fallback_mx.smtp.transaction import SHOWN_OUT

if TYPE_CHECKING:
    from fallback_mx.smtp.passage import Passage, Way
    from fallback_mx.smtp.transaction import Named, Transaction
    from mxqueue import ReportRequest

# For another connection and everything that is said again on it. The sender waits two minutes for the reply to DATA,
# and a first minute may have gone by.
AGAIN_SECONDS = 45.0

NO_EIGHT_BIT = "the primary does not offer 8BITMIME"
TOO_SLOW = Reply(451, "4.3.2 Others wait for the primary mail server, please send without such pauses")

Outcome = Answer | Unfit
"""The answer for the sender; Lost where the primary has failed, Unfit where it cannot be given this."""

Command = Callable[[Through], Awaitable[Outcome | None]]


class Crossing:
    """One step at a time. `way` is the session's, kept from the transaction before; each step may raise Crowded where
    it has none. Where the transaction is over before its end, it `is_shown_out`.

    `is_wanted` tells whether the sender is still there: for one that has gone nothing is said again.
    """

    def __init__(
        self,
        transaction: Transaction,
        passage: Passage,
        client_address: str,
        way: Way | None,
        is_wanted: Callable[[], bool],
    ) -> None:
        self.transaction = transaction
        self.primary = transaction.played
        self.way = way
        self._passage = passage
        self._client_address = client_address
        self._is_wanted = is_wanted
        self._is_announced = False
        self._taken: list[tuple[str, ReportRequest]] = []
        self._has_repeated = False
        if way is not None and way.network != allotment_of(client_address):
            way.give_up()  # it speaks for another client now (XCLIENT)

    # Steps ------------------------------------------------------------------------------------------------------

    async def mail(self) -> Outcome:
        answer = await self._say(self._mail)
        assert answer is not None
        self._is_announced = _is_success(answer)
        return answer

    async def recipient(self, named: Named) -> Outcome:
        """RCPT, and MAIL before it where that has not been said."""
        if not self._is_announced and not _is_success(announced := await self.mail()):
            return announced

        async def say(through: Through) -> Outcome:
            return await through.recipient(named.address, named.request)

        answer = await self._say(say)
        assert answer is not None
        if _is_success(answer):
            self._taken.append((named.address, named.request))
        return answer

    async def data(self, trace: bytes) -> Outcome | None:
        """DATA; None where the primary wants the content, and `trace` is on its way before it."""

        async def say(through: Through) -> Outcome | None:
            return await through.begin(trace)

        return await self._say(say)

    async def end(self) -> Answer:
        """The end of data, and what the primary says, or has said before it."""
        assert self.way is not None
        assert self.way.through is not None
        if self.way.is_over:
            return TOO_SLOW
        self.way.work()
        answer = await self.way.through.end()
        if not _has_failed(answer) or not self._is_wanted():
            return answer
        self._passage.look()
        if isinstance(answer, Reply):
            return self._show_out()
        if not answer.ambiguous:
            try:
                await self.way.open()
            except NoConnection:
                return answer
            return self._show_out()
        return answer

    def rest(self) -> None:
        """Nothing of this transaction is left to do."""
        if self.way is not None:
            self.way.rest()

    def wait(self, *, has_moved: bool = False) -> None:
        """It is the sender's turn."""
        if self.way is not None:
            self.way.wait(has_moved=has_moved)

    # Once, and once again -----------------------------------------------------------------------------------------

    async def _say(self, command: Command) -> Outcome | None:
        """The answer to this command; Lost where there is no connection to say it on."""
        through = self._current()
        is_again = self._is_announced or through is not None
        if through is not None:
            answer = await command(through)
            if not _has_failed(answer) or not self._is_wanted():
                return answer
        if not is_again:
            answer = await self._on_another(command)
            if not isinstance(answer, Reply) or not _has_failed(answer) or not self._is_wanted():
                return answer
        if self._has_repeated:
            return self._give_in()
        self._has_repeated = True
        try:
            async with asyncio.timeout(AGAIN_SECONDS):
                answer = await self._on_another(command)
        except TimeoutError:
            self._cut("it takes too long to say it again")
            return self._give_in()
        return self._give_in() if isinstance(answer, Reply) and _has_failed(answer) else answer

    def _current(self) -> Through | None:
        """The connection on which all that was taken so far was said; its way cannot be lost from here on."""
        if self.way is None or self.way.is_over:
            self.way = self._passage.enter(self._client_address)
        self.way.work()
        through = self.way.through
        return through if through is not None and through.is_usable else None

    async def _on_another(self, command: Command) -> Outcome | None:
        """Say on a new connection what was said so far, and then this. A 421 stands for whatever is no answer; Lost is
        left for there being no connection."""
        assert self.way is not None
        try:
            through = await self.way.open()
        except NoConnection as failure:
            return Lost(str(failure))
        if self._is_announced and not _is_success(await self._mail(through)):
            return _NO_ANSWER
        for address, request in self._taken:
            if not _is_success(await through.recipient(address, request)):
                return _NO_ANSWER
        answer = await command(through)
        return _NO_ANSWER if isinstance(answer, Lost) else answer

    async def _mail(self, through: Through) -> Outcome:
        given = self.transaction.parameters
        if given.body == "8BITMIME" and not through.offers("8bitmime"):
            return Unfit(NO_EIGHT_BIT)
        if given.smtputf8 and not through.offers("smtputf8"):
            return Unfit("the primary does not offer SMTPUTF8")
        return await through.mail(self.transaction.reverse_path, given)

    def _cut(self, why: str) -> None:
        if self.way is not None and self.way.through is not None:
            self.way.through.cut(why)

    def _give_in(self) -> Reply:
        self._passage.look()
        return self._show_out()

    def _show_out(self) -> Reply:
        """The primary is there, and has no answer for this sender now."""
        self.transaction.is_shown_out = True
        return _SHOWN_OUT


_NO_ANSWER = Reply(421, "")
_SHOWN_OUT = Reply(451, SHOWN_OUT.removeprefix("451 "))


def _has_failed(answer: Outcome | None) -> bool:
    return isinstance(answer, Lost) or (isinstance(answer, Reply) and answer.code == 421)


def _is_success(answer: Outcome) -> bool:
    return isinstance(answer, Reply) and answer.is_success
