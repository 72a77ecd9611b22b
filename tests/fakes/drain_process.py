"""A drain as a process of its own, to be killed: `python -m tests.fakes.drain_process URL PORT`.

It opens the queue as a service does, empties it into 127.0.0.1:PORT and exits once nothing is left.
"""

from __future__ import annotations

import asyncio
import random
import sys

from fallback_mx.redelivery import Courier, Drain, DrainSettings
from fallback_mx.smtp.dial import DialSettings, connect
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.tls_policy import TlsPolicy
from mxqueue import Queue
from mxqueue.model import RecipientState
from tests.fakes.clock import Clock
from tests.fakes.drains import RecordedEvents


async def main(url: str, port: int) -> None:
    clock = Clock()

    async def dial() -> Courier:
        return await connect(NextHop("127.0.0.1", port), DialSettings("mx2.test", tls=TlsPolicy.NONE))

    queue = Queue.open(url, node="node", exclusive=True, clock=clock)
    drain = Drain(
        "main",
        queue,
        DrainSettings(max_connections=3),
        connect=dial,
        may_deliver=lambda: True,
        recovered_at=lambda: None,
        observe=lambda observation: None,
        events=RecordedEvents(),
        clock=clock,
        chance=random.random,
    )
    running = asyncio.create_task(drain.run())
    while any(count.state is RecipientState.PENDING for count in queue.count().result()):
        await asyncio.sleep(0.01)
    drain.stop()
    await running
    queue.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
