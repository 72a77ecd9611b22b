"""Content in chunks that say their length beforehand (BDAT, RFC 3030): no dots to double, nothing to search through.

A server that offers CHUNKING and cannot do it would read the content as commands, and whoever wrote the message would
speak to it in our name. So the first chunk on a connection holds nothing but our own Received line, and is waited for;
a server that answers that as if it did not know BDAT gets content in DATA from then on, for a while.

A chunk that is refused refuses the message. RSET goes before whatever comes next (RFC 3030, section 2).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp.parcel import Parcel
from fallback_mx.smtp.pipeline import Exchange, Pipeline
from fallback_mx.smtp.steps import Step
from mxqueue.model import Message

WORTH_OCTETS = 64 * 1024
"""Smaller messages go by DATA in one write, and nothing is gained."""
LAST_OCTETS = 64 * 1024
"""What goes in the last chunk at most: while that is under way nobody knows whether the server has the message."""
DOUBT_SECONDS = 3600.0
_UNKNOWN_COMMAND = (500, 501, 502, 503)


def is_worth_it(message: Message) -> bool:
    return message.size >= WORTH_OCTETS and bool(message.trace)


class Doubts:
    """The hosts that offered CHUNKING and did not know BDAT, for an hour each. `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: dict[str, float] = {}

    def add(self, host: str) -> None:
        self._until[host] = self._now() + DOUBT_SECONDS

    def __contains__(self, host: str) -> bool:
        return self._until.get(host, 0.0) > self._now()


class Chunks:
    """The chunks of one message. `is_pipelined`: the next one need not wait for the reply to the one before."""

    def __init__(self, pipeline: Pipeline, *, is_tried: bool, is_pipelined: bool) -> None:
        self._pipeline = pipeline
        self._is_tried = is_tried
        self._is_pipelined = is_pipelined
        self._sent: list[Exchange] = []

    @property
    def refusal(self) -> Reply | None:
        """The first reply so far that is no success."""
        replies = [reply for exchange in self._sent for reply in exchange.replies]
        return next((reply for reply in replies if not reply.is_success), None)

    @property
    def is_unknown(self) -> bool:
        """Whether the server has shown that it does not know BDAT."""
        return not self._is_tried and self.refusal is not None and self.refusal.code in _UNKNOWN_COMMAND

    async def all_but_the_last(self, parcel: Parcel) -> bytes:
        """Send chunks; what is given is the last one, command and all. Stops at once where a chunk is refused, or the
        connection breaks. Raises what `parcel` raises."""
        pieces = _joined(parcel, is_apart=not self._is_tried)
        ahead = await anext(pieces)
        async for piece in pieces:
            if not await self._send(ahead):
                await pieces.aclose()
                return b""
            ahead = piece
        if len(ahead) > LAST_OCTETS and not await self._send(ahead[:-LAST_OCTETS]):
            return b""
        last = ahead[-LAST_OCTETS:]
        return b"BDAT %d LAST\r\n%b" % (len(last), last)

    async def _send(self, piece: bytes) -> bool:
        """Whether there may be more."""
        is_first = not self._sent
        exchange = self._pipeline.expect([Step.CHUNK])
        self._sent.append(exchange)
        await self._pipeline.write(b"BDAT %d\r\n%b" % (len(piece), piece))
        if not self._is_pipelined or (is_first and not self._is_tried):
            await exchange.wait()
        return self._pipeline.broken is None and self.refusal is None

    async def settled(self) -> None:
        """Until every chunk has its reply."""
        for exchange in self._sent:
            await exchange.wait()


async def _joined(parcel: Parcel, *, is_apart: bool) -> AsyncGenerator[bytes, None]:
    """The pieces of the content, the trace line before the first, or apart from it."""
    pending = parcel.message.trace
    if is_apart:
        yield pending
        pending = b""
    async for piece in parcel.chunks():
        pending += piece
        if len(pending) >= WORTH_OCTETS:
            yield pending
            pending = b""
    if pending or is_apart:
        yield pending
