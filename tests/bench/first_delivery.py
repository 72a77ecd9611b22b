"""How long mail waits for a primary that answers again."""

from __future__ import annotations

import asyncio
import smtplib
import time

from fallback_mx.smtp.sink import Sink, SinkSession
from tests.bench.load import RECIPIENT, Void
from tests.fakes.relay import Relay, primary


def seconds() -> float:
    """From the primary's first banner to its first 250 for a message: interval 500 ms, rise 2."""
    return asyncio.run(_measure())


async def _measure() -> float:
    moments: dict[str, float] = {}
    delivered = asyncio.Event()

    def banner(_session: SinkSession, _argument: str) -> None:
        moments.setdefault("banner", time.perf_counter())

    def final(_session: SinkSession, _argument: str) -> None:
        moments.setdefault("final", time.perf_counter())
        delivered.set()

    reserved = Sink()
    await reserved.start()
    port = reserved.port
    await reserved.stop()
    with Relay(primary(port, interval="500ms", rise=2, fall=1), from_scratch=True) as relay:
        await asyncio.to_thread(_send_one, relay)
        sink = Sink(replies={"banner": banner, "final": final}, keep=False)
        await sink.start(port=port)
        try:
            await asyncio.wait_for(delivered.wait(), 60)
        except TimeoutError as late:
            raise Void(f"nothing delivered within 60 s of the primary's return; {relay.log_tail()}") from late
        finally:
            await sink.stop()
    return moments["final"] - moments["banner"]


def _send_one(relay: Relay) -> None:
    relay.wait_for(lambda: relay.primary_state() == "down", "the primary is seen to be away")
    with smtplib.SMTP("127.0.0.1", relay.port) as client:
        client.sendmail("a@sender.test", [RECIPIENT], b"Subject: first\r\n\r\nout\r\n")
