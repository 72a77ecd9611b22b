"""Whether anybody answers at a TCP port: connect, and go away without a word.

A port that refuses is not open, but the machine behind it, or a router next to it, has answered: `is_reachable` is
content with that, `knock` is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp import reach
from fallback_mx.smtp.reach import Source
from fallback_mx.smtp.route import NextHop

KNOCK_SECONDS = 10.0
REFUSED = "connection refused"


async def knock(hops: Sequence[NextHop], source: Source, seconds: float = KNOCK_SECONDS) -> str:
    """The first of these, each at all its addresses, at which somebody answers. Raises NoConnection with what the last
    one did."""
    failure: NoConnection | None = None
    for hop in hops:
        try:
            for place in await reach.places(hop, source, seconds):
                try:
                    (await reach.connect(place, source, seconds)).close()
                except NoConnection as error:
                    failure = error
                else:
                    return f"{place.address} port {hop.port}"
        except NoConnection as error:
            failure = error
    raise failure or NoConnection("route", "there is no host to knock at")


async def is_reachable(hop: NextHop, seconds: float) -> bool:
    """Whether anything of the network answers there. Raises NoConnection where our own machine could not try."""
    try:
        await knock([hop], Source(), seconds)
    except NoConnection as failure:
        if failure.phase == "ours":
            raise
        return failure.detail.endswith(REFUSED)
    return True
