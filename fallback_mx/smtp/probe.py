"""One health check of a primary, the way that mail itself goes, and QUIT (RFC 5321, section 4.1.1.10).

Whatever the primary does is an observation, told in a few printable words, and costs bounded time and memory. Only two
things are raised: cancellation, and NotProbed where our own machine could not try, since that says nothing about the
primary. A probe that begins a transaction never gets to DATA, and takes it back (RSET) before it leaves.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from fallback_mx.rules.disposition import NoConnection, Reply
from fallback_mx.rules.health import Observation
from fallback_mx.smtp.depth import Depth
from fallback_mx.smtp.dial import Line
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.steps import Step, Timeouts
from mxqueue.model import utc_now

MAX_DETAIL = 200
# A minute for the greeting leaves room for servers that delay it to repel spammers.
TIMEOUTS = Timeouts(connect=10.0, banner=60.0, command=30.0, quit=2.0)

Connect = Callable[[], Awaitable[Line]]
"""Opens a connection as far as the probe goes before MAIL. Raises NoConnection."""


class NotProbed(Exception):
    """Our own machine could not try: out of descriptors, of memory, of ports, or without what it needs to log in."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How far a probe goes, and whom it asks for in a transaction."""

    depth: Depth = Depth.STARTTLS
    recipient: str = ""


class Stopwatch:
    """Times the steps of a probe as it hears of them: `hear` is for its DialSettings. What comes twice, as EHLO does
    before and after STARTTLS, is added up; the look-up of the address is part of "connect". `on_step` gets each step,
    what was said and its seconds."""

    def __init__(self, on_step: Callable[[str, str, float], None] = lambda phase, said, seconds: None) -> None:
        self.said = ""
        self._on_step = on_step
        self._last = time.monotonic()
        self._seconds: dict[str, float] = {}

    def hear(self, phase: str, said: str) -> None:
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds
        self.said = said
        self._on_step(phase, said, seconds)

    @property
    def phases(self) -> tuple[tuple[str, float], ...]:
        return tuple(self._seconds.items())


async def probe(
    connect: Connect,
    clock: Callable[[], datetime] = utc_now,
    manner: Manner | None = None,
    stopwatch: Stopwatch | None = None,
) -> Observation:
    """Look once, the way that `connect` goes, which is to be as deep as `manner`. Raises NotProbed."""
    manner, stopwatch = manner or Manner(), stopwatch or Stopwatch()
    at, began = clock(), time.monotonic()
    try:
        pipeline, greeting = await connect()
    except NoConnection as failure:
        if failure.phase == "ours":
            raise NotProbed(failure.detail) from failure
        seconds = time.monotonic() - began
        return Observation(False, at, failure.phase, failure.detail[:MAX_DETAIL], seconds, phases=stopwatch.phases)
    try:
        good, phase, said = True, _deepest(manner.depth), greeting.said or stopwatch.said
        if manner.depth is Depth.TRANSACTION:
            good, phase, said = await _ask(pipeline, manner.recipient, stopwatch)
        seen = Observation(
            good,
            at,
            phase,
            said[:MAX_DETAIL],
            time.monotonic() - began,
            greeting.offered.size_limit,
            stopwatch.phases,
            greeting.certificate_expires_at,
        )
        if manner.depth is not Depth.CONNECT:
            await _leave(pipeline, manner.depth)
    finally:
        pipeline.abort()
    return seen


def _deepest(depth: Depth) -> str:
    return "ehlo" if depth.includes(Depth.EHLO) else depth.value


async def _ask(pipeline: Pipeline, recipient: str, stopwatch: Stopwatch) -> tuple[bool, str, str]:
    """Whether the primary would take mail, how far that came and what it said. 4xx to RCPT is a server that works: it
    greylists, or one mailbox is full. 421 is one that goes away (RFC 5321, sections 3.8 and 4.2.3)."""
    for step, line in ((Step.MAIL, "MAIL FROM:<>"), (Step.RCPT, f"RCPT TO:<{recipient}>")):
        reply = await pipeline.converse(step, f"{line}\r\n".encode())
        phase = step.label.lower()
        if pipeline.broken is not None or reply is None:
            said = str(pipeline.farewell or pipeline.broken)
            stopwatch.hear(phase, said)
            return False, phase, said
        stopwatch.hear(phase, str(reply))
        if not _lets_go_on(step, reply):
            return False, phase, str(reply)
    return True, phase, str(reply)


def _lets_go_on(step: Step, reply: Reply) -> bool:
    return reply.is_success or (step is Step.RCPT and not reply.is_refusal)


async def _leave(pipeline: Pipeline, depth: Depth) -> None:
    """What the primary says to this changes nothing."""
    if depth is Depth.TRANSACTION and pipeline.broken is None:
        await pipeline.converse(Step.RSET, b"RSET\r\n")
    await pipeline.leave()
