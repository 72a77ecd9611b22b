"""One connection to a next hop: messages in, an outcome for each recipient out.

Where the server offers PIPELINING (RFC 2920) a whole envelope goes in one write, and the next message's envelope goes
behind this one's final dot, so that a message costs one round trip. Content is streamed and dot-stuffed on the way, and
never whole in memory. It arrives byte for byte or not at all: what the server could mangle is not sent, and content
that our own storage cannot read to its end is cut off before the final dot.

Nothing here raises for what a server does: a broken connection is a result (`Lost`) of the recipients it concerns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from fallback_mx.rules.disposition import Delivery, Lost, Reply, Result
from fallback_mx.smtp import fitness
from fallback_mx.smtp.commands import commands
from fallback_mx.smtp.dots import FINAL_DOT, DotStuffer
from fallback_mx.smtp.parcel import Parcel, Part, unreadable
from fallback_mx.smtp.pipeline import Exchange, Pipeline, Step

JOIN_OCTETS = 64 * 1024
"""Pieces are joined up to this size, so that a small message is one write."""


Upcoming = Callable[[], Parcel | None]
"""Gives the parcel that will be delivered next on this connection, if it is known."""


def nothing_upcoming() -> Parcel | None:
    return None


@dataclass(frozen=True, slots=True)
class Greeting:
    """What is known of the server: `extensions` are EHLO keywords in lower case, `tls_error` why we are in clear."""

    host: str
    extensions: frozenset[str] = frozenset()
    tls: str | None = None
    tls_error: str | None = None


@dataclass(frozen=True, slots=True)
class _Envelope:
    """MAIL, RCPT and DATA of one parcel, and the replies that came to them, in that order."""

    parcel: Parcel
    exchange: Exchange

    @property
    def mail(self) -> Reply:
        return self.exchange.replies[0]

    @property
    def rcpts(self) -> list[Reply]:
        return self.exchange.replies[1 : 1 + len(self.parcel.message.recipients)]

    @property
    def data(self) -> Reply | None:
        """None where DATA was not sent, since nobody was accepted."""
        return self.exchange.replies[-1] if self.exchange.steps[-1] is Step.DATA else None

    @property
    def is_accepted(self) -> bool:
        return self.mail.is_success and any(reply.is_success for reply in self.rcpts)

    def results(self, outcome: Result) -> tuple[Result, ...]:
        """Each recipient's own refusal, or else what became of the message."""
        if not self.mail.is_success:
            return (self.mail,) * len(self.parcel.message.recipients)
        return tuple(outcome if reply.is_success else reply for reply in self.rcpts)


class Courier:
    """Deliver one parcel after the other with `deliver`, then `quit`. Not for two tasks at once."""

    def __init__(self, pipeline: Pipeline, greeting: Greeting) -> None:
        self.greeting = greeting
        self._pipeline = pipeline
        self._announced: _Envelope | None = None
        self._carried = 0
        self._is_dot_sent = False
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
        return Delivery(results, is_untouched, self._seconds)

    async def quit(self) -> None:
        """Leave in order (RFC 5321, section 4.1.1.10), or cut the connection where a message has been announced."""
        if self._announced is None and self._pipeline.broken is None:
            goodbye = self._pipeline.expect([Step.QUIT])
            self._pipeline.push(b"QUIT\r\n")
            await goodbye.wait()
            self._pipeline.close()
        self.abort()

    def abort(self) -> None:
        """Cut the connection now."""
        self._pipeline.abort()

    # The envelope -----------------------------------------------------------------------------------------------

    def _offers(self, extension: str) -> bool:
        return extension in self.greeting.extensions

    async def _envelope(self, parcel: Parcel) -> _Envelope:
        started = asyncio.get_running_loop().time()
        if self._announced is not None:
            envelope, self._announced = self._announced, None
            await envelope.exchange.wait()
        elif self._offers("pipelining"):
            said = commands(parcel.message, self.greeting.extensions)
            envelope = _Envelope(parcel, self._pipeline.expect([step for step, _ in said]))
            self._pipeline.push(b"".join(line for _, line in said))
            await envelope.exchange.wait()
        else:
            envelope = await self._envelope_in_turn(parcel)
        self._seconds += asyncio.get_running_loop().time() - started
        return envelope

    async def _envelope_in_turn(self, parcel: Parcel) -> _Envelope:
        """One command at a time; the rest is left out once nobody can be accepted any more."""
        steps: list[Step] = []
        replies: list[Reply] = []
        is_accepted = False
        for step, line in commands(parcel.message, self.greeting.extensions):
            if step is Step.DATA and not is_accepted:
                break
            exchange = self._pipeline.expect([step])
            self._pipeline.push(line)
            await exchange.wait()
            steps.append(step)
            replies += exchange.replies
            if self._pipeline.broken is not None or (step is Step.MAIL and not replies[0].is_success):
                break
            is_accepted = is_accepted or (step is Step.RCPT and replies[-1].is_success)
        return _Envelope(parcel, Exchange.of(steps, replies))

    def _is_untouched(self, envelope: _Envelope) -> bool:
        """Nothing was said about this message, and the connection had been good for others."""
        about_us = len(envelope.exchange.replies) - (self._pipeline.farewell is not None)
        return self._carried > 0 and self._pipeline.broken is not None and about_us <= 0

    # The message ------------------------------------------------------------------------------------------------

    async def _results(self, envelope: _Envelope, upcoming: Upcoming) -> tuple[Result, ...]:
        lost = (self._lost(),) * len(envelope.parcel.message.recipients)
        if self._pipeline.broken is not None:
            return lost
        data = envelope.data
        if data is not None and 300 <= data.code < 400:
            if envelope.is_accepted:
                return envelope.results(await self._content(envelope.parcel, upcoming))
            # RFC 2920, section 3.1: the server wants content for nobody; it gets none.
            await self._converse(FINAL_DOT, Step.CONTENT)
        else:
            # Before refusals are believed: had the server said one thing too many, this would bring it to light.
            await self._converse(b"RSET\r\n", Step.RSET)
        if self._pipeline.broken is not None:
            return (self._lost(),) * len(lost)
        return envelope.results(data or envelope.mail)

    async def _converse(self, line: bytes, step: Step) -> None:
        exchange = self._pipeline.expect([step])
        self._pipeline.push(line)
        await exchange.wait()

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
        exchange = self._pipeline.expect([Step.CONTENT])
        behind = self._announce(upcoming) if self._offers("pipelining") else b""
        self._is_dot_sent = True
        started = asyncio.get_running_loop().time()
        self._pipeline.push(pending + stuffer.end() + behind)
        await exchange.wait()
        self._is_dot_sent = False
        self._seconds += asyncio.get_running_loop().time() - started
        return exchange.replies[0] if exchange.replies else self._lost(is_ambiguous=True)

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

    def _announce(self, upcoming: Upcoming) -> bytes:
        """The next parcel's envelope, to go behind this one's final dot."""
        parcel = upcoming()
        if parcel is None or not fitness.is_fit(parcel.message, self.greeting.extensions):
            return b""
        said = commands(parcel.message, self.greeting.extensions)
        self._announced = _Envelope(parcel, self._pipeline.expect([step for step, _ in said]))
        return b"".join(line for _, line in said)
