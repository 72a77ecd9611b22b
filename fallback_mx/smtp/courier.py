"""One connection to a next hop: messages in, an outcome for each recipient out.

Where the server offers PIPELINING (RFC 2920) a whole envelope goes in one write, and the next message's envelope goes
behind this one's final dot, so that a message costs one round trip. Content is streamed, dot-stuffed or in chunks
(RFC 3030), and never whole in memory. It arrives byte for byte or not at all: what the server could mangle is not sent,
and content that our own storage cannot read to its end is cut off before the final dot, or the last chunk.

Nothing here raises for what a server does: a broken connection is a result (`Lost`) of the recipients it concerns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from fallback_mx.rules.disposition import Delivery, Lost, Reply, Result
from fallback_mx.smtp import chunking, fitness, forwarded
from fallback_mx.smtp.chunking import Chunks, Doubts
from fallback_mx.smtp.commands import commands
from fallback_mx.smtp.dots import FINAL_DOT, DotStuffer
from fallback_mx.smtp.envelope import Envelope
from fallback_mx.smtp.forwarded import Announce
from fallback_mx.smtp.introduction import Introduction
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.parcel import Parcel, Part, unreadable
from fallback_mx.smtp.pipeline import Exchange, Pipeline
from fallback_mx.smtp.steps import Step
from mxqueue.model import Message

JOIN_OCTETS = 64 * 1024
"""Pieces are joined up to this size, so that a small message is one write."""


RSET = b"RSET\r\n"

Upcoming = Callable[[], Parcel | None]
"""Gives the parcel that will be delivered next on this connection, if it is known."""


def nothing_upcoming() -> Parcel | None:
    return None


class Courier:
    """Deliver one parcel after the other with `deliver`, then `quit`. Not for two tasks at once."""

    def __init__(
        self,
        pipeline: Pipeline,
        greeting: Greeting,
        announce: Announce = Announce.NONE,
        doubts: Doubts | None = None,
    ) -> None:
        """`doubts` is kept beyond this connection. Without it a server that breaks its word costs an attempt."""
        self.greeting = greeting
        self._loop = asyncio.get_running_loop()
        self._pipeline = pipeline
        self._introduction = Introduction(pipeline, greeting) if announce is Announce.XCLIENT else None
        self._forwards = greeting.offered.words("xforward") if announce is Announce.XFORWARD else frozenset()
        self._forward_refusals = 0
        self._doubts = doubts
        self._is_chunking_tried = False
        self._announced: Envelope | None = None
        self._carried = 0
        self._is_dot_sent = False
        self._is_put_back = False
        self._seconds = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether another parcel can be delivered on this connection."""
        return self._pipeline.broken is None

    @property
    def is_ambiguous(self) -> bool:
        """Whether the final dot of the message in hand is on its way, and no reply to it has come."""
        return self._is_dot_sent

    async def deliver(self, parcel: Parcel, upcoming: Upcoming = nothing_upcoming) -> Delivery:
        """Offer this parcel. `upcoming` is asked at most once, when this one's final dot is about to go.

        The parcel that it gave must be the next one delivered here, unless the connection is given up. If this call
        is cancelled the connection must be given up: `abort`.
        """
        assert self._announced is None or self._announced.parcel is parcel
        if self._announced is not None:
            return await self._offer(parcel, upcoming)
        if self._introduction is not None:
            self.greeting = await self._introduction.make(parcel.message) or self.greeting
        unfit = await fitness.unfit(parcel, self.greeting.extensions, self.greeting.host)
        fit = tuple(each for each, why in zip(parcel.message.recipients, unfit, strict=True) if why is None)
        if len(fit) == len(unfit):
            return await self._offer(parcel, upcoming)
        if not fit:
            return Delivery(tuple(why for why in unfit if why is not None))
        part = Part(parcel, replace(parcel.message, recipients=fit))
        delivery = await self._offer(part, upcoming)
        results = iter(delivery.results)
        return replace(delivery, results=tuple(next(results) if why is None else why for why in unfit))

    async def _offer(self, parcel: Parcel, upcoming: Upcoming) -> Delivery:
        self._seconds = 0.0
        envelope = await self._envelope(parcel)
        is_untouched = self._is_untouched(envelope)
        results = await self._results(envelope, upcoming)
        self._carried += 1
        return Delivery(results, is_untouched or self._is_put_back, self._seconds)

    async def quit(self) -> None:
        """Leave in order (RFC 5321, section 4.1.1.10), or cut the connection where a message has been announced."""
        if self._announced is None:
            await self._pipeline.leave()
        self.abort()

    def abort(self) -> None:
        """Cut the connection now."""
        self._pipeline.abort()

    # The envelope -----------------------------------------------------------------------------------------------

    def _offers(self, extension: str) -> bool:
        return extension in self.greeting.extensions

    def _is_chunked(self, message: Message) -> bool:
        is_doubted = self._doubts is not None and self.greeting.host in self._doubts
        return self._offers("chunking") and chunking.is_worth_it(message) and not is_doubted

    def _said(self, message: Message) -> list[tuple[Step, bytes]]:
        said = commands(message, self.greeting.extensions, with_data=not self._is_chunked(message))
        if self._forwards and self._forward_refusals < 2:
            line = forwarded.xforward(message, self._forwards, is_narrow=self._forward_refusals > 0)
            said[:0] = [(Step.XFORWARD, line)] if line else []
        return said

    async def _envelope(self, parcel: Parcel) -> Envelope:
        started = self._loop.time()
        if self._announced is not None:
            envelope, self._announced = self._announced, None
            await envelope.exchange.wait()
        elif self._offers("pipelining"):
            said = self._said(parcel.message)
            envelope = Envelope(parcel, self._pipeline.expect([step for step, _ in said]))
            self._pipeline.push(b"".join(line for _, line in said))
            await envelope.exchange.wait()
        else:
            envelope = await self._envelope_in_turn(parcel)
        self._seconds += self._loop.time() - started
        self._forward_refusals += not envelope.is_forwarded
        return envelope

    async def _envelope_in_turn(self, parcel: Parcel) -> Envelope:
        """One command at a time; the rest is left out once nobody can be accepted any more."""
        steps: list[Step] = []
        replies: list[Reply] = []
        is_accepted = False
        for step, line in self._said(parcel.message):
            if step is Step.DATA and not is_accepted:
                break
            exchange = self._pipeline.expect([step])
            self._pipeline.push(line)
            await exchange.wait()
            steps.append(step)
            replies += exchange.replies
            if self._pipeline.broken is not None or (step is Step.MAIL and not replies[-1].is_success):
                break
            is_accepted = is_accepted or (step is Step.RCPT and replies[-1].is_success)
        return Envelope(parcel, Exchange.of(steps, replies))

    def _is_untouched(self, envelope: Envelope) -> bool:
        """Nothing was said about this message, and the connection had been good for others."""
        if self._pipeline.broken is None:
            return False
        about_us = len(envelope.replies) - (self._pipeline.farewell is not None)
        return self._carried > 0 and about_us <= 0

    # The message ------------------------------------------------------------------------------------------------

    async def _results(self, envelope: Envelope, upcoming: Upcoming) -> tuple[Result, ...]:
        if self._pipeline.broken is not None:
            return self._all_lost(envelope)
        data = envelope.data
        if data is None and envelope.is_accepted:
            return envelope.results(await self._chunks(envelope.parcel, upcoming))
        if data is not None and 300 <= data.code < 400:
            if envelope.is_accepted:
                return envelope.results(await self._content(envelope.parcel, upcoming))
            # RFC 2920, section 3.1: the server wants content for nobody; it gets none.
            await self._pipeline.converse(Step.CONTENT, FINAL_DOT)
        else:
            # Before refusals are believed: had the server said one thing too many, this would bring it to light.
            await self._pipeline.converse(Step.RSET, RSET)
        if self._pipeline.broken is not None:
            return self._all_lost(envelope)
        return envelope.results(data or envelope.mail)

    def _all_lost(self, envelope: Envelope) -> tuple[Result, ...]:
        return (self._lost(),) * len(envelope.parcel.message.recipients)

    def _lost(self, is_ambiguous: bool = False) -> Result:
        """What the end of the connection means for recipients that got no reply."""
        return self._pipeline.farewell or Lost(self._pipeline.broken or "", is_ambiguous)

    async def _content(self, parcel: Parcel, upcoming: Upcoming) -> Result:
        stuffer = DotStuffer()
        try:
            pending = await self._all_but_the_end(parcel, stuffer)
        except Exception as error:
            self._pipeline.abort(f"content not sent to its end: {error}")
            return unreadable(error)
        if self._pipeline.broken is not None:
            return self._lost()
        return await self._end(Step.CONTENT, pending + stuffer.end(), upcoming) or self._lost(is_ambiguous=True)

    async def _end(self, step: Step, last: bytes, upcoming: Upcoming) -> Reply | None:
        """Send the end of the content, and behind it what comes next; the reply to it."""
        exchange = self._pipeline.expect([step])
        behind = self._announce(upcoming, is_reset=step is Step.LAST_CHUNK) if self._offers("pipelining") else b""
        self._is_dot_sent = True
        started = self._loop.time()
        self._pipeline.push(last + behind)
        await exchange.wait()
        self._is_dot_sent = False
        self._seconds += self._loop.time() - started
        return exchange.replies[0] if exchange.replies else None

    async def _all_but_the_end(self, parcel: Parcel, stuffer: DotStuffer) -> bytes:
        """Send trace line and content; what is left over goes with the final dot."""
        pending = stuffer.stuff(parcel.message.trace)
        async for piece in parcel.chunks():
            stuffed = stuffer.stuff(piece)
            if len(pending) + len(stuffed) > JOIN_OCTETS:
                await self._pipeline.write(pending)
                pending = stuffed
            else:
                pending += stuffed
            if self._pipeline.broken is not None:
                return b""
        if len(pending) > JOIN_OCTETS:
            await self._pipeline.write(pending)
            return b""
        return pending

    async def _chunks(self, parcel: Parcel, upcoming: Upcoming) -> Result:
        chunks = Chunks(self._pipeline, is_tried=self._is_chunking_tried, is_pipelined=self._offers("pipelining"))
        try:
            last = await chunks.all_but_the_last(parcel)
        except Exception as error:
            self._pipeline.abort(f"content not sent to its end: {error}")
            return unreadable(error)
        if chunks.is_unknown:
            return self._doubt(chunks)
        self._is_chunking_tried = True
        reply = None
        if last and self._pipeline.broken is None:
            reply = await self._end(Step.LAST_CHUNK, last, upcoming)
            return chunks.refusal or reply or self._lost(is_ambiguous=True)
        await chunks.settled()
        if self._pipeline.broken is None:
            await self._pipeline.converse(Step.RSET, RSET)
        return chunks.refusal or self._lost()

    def _doubt(self, chunks: Chunks) -> Result:
        """It does not know BDAT after all: nobody can say what it makes of what it was sent, so that this is the end of
        the connection. On the next one the message goes by DATA."""
        self._pipeline.abort(f"CHUNKING was offered, and BDAT answered with {chunks.refusal}")
        if self._doubts is not None:
            self._doubts.add(self.greeting.host)
            self._is_put_back = True
        return self._lost()

    def _announce(self, upcoming: Upcoming, *, is_reset: bool) -> bytes:
        """The next parcel's envelope, to go behind this one's end."""
        parcel = upcoming()
        if parcel is None or not fitness.is_fit(parcel.message, self.greeting.extensions):
            return b""
        if self._introduction is not None and not self._introduction.is_made_for(parcel.message):
            return b""
        said = self._said(parcel.message)
        if is_reset:
            said.insert(0, (Step.RSET, RSET))
        self._announced = Envelope(parcel, self._pipeline.expect([step for step, _ in said]))
        return b"".join(line for _, line in said)
