"""A connection to a primary on which senders' transactions are played through as they happen (RFC 5321, section 3.3).

Each step gives the primary's reply, or Lost where there was none: it was gone, silent or out of step. After that, and
after a 421, the connection is over, and whoever plays goes on without it. Content is streamed behind our Received line
and dot-stuffed; unless `end` is called the primary never sees an end of data, and so can never take half a message.
Only a failure behind that end is ambiguous. A refusal in the middle of the content, as filters say it, is its answer:
`end` gives it, and sends no end. Nothing here raises for what a server does.
"""

from __future__ import annotations

from fallback_mx.rules.disposition import Lost, Reply
from fallback_mx.smtp import commands
from fallback_mx.smtp.dots import DotStuffer
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.parameters import MailParameters
from fallback_mx.smtp.pipeline import Exchange, Pipeline
from fallback_mx.smtp.steps import Step, Timeouts
from mxqueue import ReportRequest

TIMEOUTS = Timeouts(command=90.0, data=60.0, block=120.0, final=480.0)
"""What the primary is given, in seconds. The sender waits five minutes for MAIL and RCPT, two for DATA, three for room
and ten for the end of data (RFC 5321, section 4.5.3.2): it is to have our answer before it gives up, also where a
command is said a second time on another connection (fallback_mx.smtp.crossing)."""

# What our Received line may add to the size that the sender announced.
TRACE_OCTETS = 512

Answer = Reply | Lost


class Through:
    """One transaction after the other: `mail`, `recipient`s, `begin`, `feed`, `end`. One step at a time."""

    def __init__(self, pipeline: Pipeline, greeting: Greeting) -> None:
        self.host = greeting.host
        self._extensions = greeting.extensions
        self._pipeline = pipeline
        self._stuffer: DotStuffer | None = None
        self._is_in_transaction = False
        self._is_asking = False
        self._is_wide = False
        self._goodbye: Exchange | None = None

    @property
    def is_usable(self) -> bool:
        """Whether another step can be made."""
        return self._pipeline.broken is None

    def offers(self, extension: str) -> bool:
        return extension in self._extensions

    # The envelope -----------------------------------------------------------------------------------------------

    async def mail(self, reverse_path: str, given: MailParameters) -> Answer:
        """MAIL, behind RSET where the sender left a transaction unfinished."""
        if given.size:
            given = given._replace(size=given.size + TRACE_OCTETS)
        self._is_wide = given.smtputf8
        if self._is_in_transaction:
            self._is_in_transaction = False
            if isinstance(gone := await self._ask(Step.RSET, b"RSET\r\n"), Lost):
                return gone
        answer = await self._ask(Step.MAIL, commands.mail(reverse_path, given, self._extensions))
        self._is_in_transaction = isinstance(answer, Reply) and answer.is_success
        return answer

    async def recipient(self, forward_path: str, asked: ReportRequest) -> Answer:
        return await self._ask(Step.RCPT, commands.rcpt(forward_path, asked, self._extensions, is_wide=self._is_wide))

    async def _ask(self, step: Step, command: bytes) -> Answer:
        exchange = self._pipeline.expect([step])
        self._pipeline.push(command)
        return await self._answer(exchange)

    async def _answer(self, exchange: Exchange, *, is_ambiguous: bool = False) -> Answer:
        self._is_asking = True
        await exchange.wait()
        self._is_asking = False
        if not exchange.replies:
            return Lost(self._pipeline.broken or "", is_ambiguous)
        (reply,) = exchange.replies
        return reply

    # Content ----------------------------------------------------------------------------------------------------

    async def begin(self, trace: bytes) -> Reply | Lost | None:
        """DATA. None where the primary wants the content: then `trace` is on its way before it."""
        # It may follow upon the reply to DATA that quickly.
        self._pipeline.is_interruptible = True
        answer = await self._ask(Step.DATA, b"DATA\r\n")
        if isinstance(answer, Lost) or not 300 <= answer.code < 400:
            self._pipeline.is_interruptible = False
            return answer
        self._stuffer = DotStuffer()
        self.feed(trace)
        return None

    def feed(self, piece: bytes) -> None:
        """Send a piece of content, whose line ends have been looked at. Raises BareDot: then `cut`."""
        assert self._stuffer is not None
        if self._pipeline.broken is None:
            self._pipeline.push(self._stuffer.stuff(piece))

    @property
    def has_answered(self) -> bool:
        """Whether the primary has refused the content before its end: it gets no more of it."""
        return self._pipeline.farewell is not None

    @property
    def is_choked(self) -> bool:
        """Whether the primary is slow to take the content: nothing more should be fed until there is `room`."""
        return self._pipeline.is_choked

    async def room(self) -> None:
        await self._pipeline.room()

    async def end(self) -> Answer:
        """The final dot, and what is said to it, or was said before it."""
        assert self._stuffer is not None
        if self._pipeline.broken is not None:
            return self._pipeline.farewell or Lost(self._pipeline.broken)
        exchange = self._pipeline.expect([Step.CONTENT])
        self._pipeline.push(self._stuffer.end())
        self._stuffer = None
        self._is_in_transaction = False
        answer = await self._answer(exchange, is_ambiguous=True)
        self._pipeline.is_interruptible = False
        return answer

    # The end ----------------------------------------------------------------------------------------------------

    def cut(self, why: str) -> None:
        """End the connection now; a message whose end has not been sent is none."""
        self._pipeline.abort(why)

    def leave(self) -> None:
        """Say goodbye where that is possible, without keeping anybody waiting."""
        if self._stuffer is not None or self._is_asking:
            self.cut("the sender has gone")
        elif self.is_usable and self._goodbye is None:
            self._goodbye = self._pipeline.quit()

    async def closed(self) -> None:
        """Wait until the goodbye is over, where there is one."""
        if self._goodbye is not None:
            await self._goodbye.wait()
