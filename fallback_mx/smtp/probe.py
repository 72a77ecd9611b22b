"""One health check of a primary: as far as MAIL, the way that mail itself goes, and QUIT (RFC 5321, section 4.1.1.10).

Whatever the primary does is an observation, told in a few printable words, and costs bounded time and memory. Only two
things are raised: cancellation, and NotProbed where our own machine could not try, since that says nothing about the
primary.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.rules.health import Observation
from fallback_mx.smtp.dial import Line
from fallback_mx.smtp.steps import Timeouts
from mxqueue.model import utc_now

MAX_DETAIL = 200
# A minute for the greeting leaves room for servers that delay it to repel spammers.
TIMEOUTS = Timeouts(connect=10.0, banner=60.0, command=30.0, quit=2.0)

Connect = Callable[[], Awaitable[Line]]
"""Opens a connection on which mail could be sent. Raises NoConnection."""


class NotProbed(Exception):
    """Our own machine could not try: out of descriptors, of memory, of ports, or without what it needs to log in."""


async def probe(connect: Connect, clock: Callable[[], datetime] = utc_now) -> Observation:
    """Look once, the way that `connect` goes. Raises NotProbed."""
    at, began = clock(), time.monotonic()
    try:
        pipeline, greeting = await connect()
    except NoConnection as failure:
        if failure.phase == "ours":
            raise NotProbed(failure.detail) from failure
        seconds = time.monotonic() - began
        return Observation(False, at, failure.phase, failure.detail[:MAX_DETAIL], seconds)
    seconds = time.monotonic() - began
    try:
        await pipeline.leave()
    finally:
        pipeline.abort()
    return Observation(True, at, "ehlo", greeting.said[:MAX_DETAIL], seconds, greeting.offered.size_limit)
