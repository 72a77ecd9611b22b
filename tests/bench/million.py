"""What a great many messages in the queue cost: `python -m tests.bench --million`.

The rows are made here, by the statements that the queue itself accepts mail with, and nobody waits for a disk. Beside a
queue with a million messages stands one with ten thousand, or none: the same load goes to both, one after the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

from fallback_mx.outages.schema import MIGRATIONS as OUTAGES
from fallback_mx.recipients.schema import MIGRATIONS as RECIPIENTS
from mxqueue import BytesContent, Envelope, Queue, intake
from mxqueue.engine import make_engine
from mxqueue.ids import Ids
from mxqueue.migrate import QUEUE
from mxqueue.model import utc_now
from tests.bench.contestants import Ours
from tests.bench.figures import Figure, Side
from tests.bench.load import RECIPIENT, Load, Void
from tests.bench.tools import Tools

MANY = 1_000_000
FEW = 10_000
AT_ONCE = 5000
NODE = "relay.example.net"
CONTENT = b"Subject: one of many\r\n\r\n" + b"a line of an ordinary length for a letter\r\n" * 10
ACCEPT_SECONDS = 4.0
LONGEST_DRAIN_SECONDS = 120.0
LOOKS = 10


def figures() -> dict[str, Figure]:
    within = 0.9
    return {
        "accept": Figure("accept, 50 sessions reused, 10 kB (beside an empty queue)", "/s", at_least=within),
        "drain": Figure(f"drain of the oldest {FEW:,}, 20 connections", "/s", at_least=within),
        "count": Figure("queue count, the query", "s", below=0.2),
        "command": Figure("queue count, the command with its start", "s"),
        "/metrics": Figure("/metrics, the slowest of 10", "s", below=0.2),
        "/status.json": Figure("/status.json, the slowest of 10", "s", below=0.2),
    }


def measure(tools: Tools, runs: int, say: Callable[[str], None]) -> list[Figure]:
    found = figures()
    with ExitStack() as running:
        started = time.monotonic()
        many = running.enter_context(_filled(tools, MANY))
        say(f"{MANY:,} messages queued in {time.monotonic() - started:.0f} s, {_gigabytes(many):.1f} GB")
        for run in range(1, runs + 1):
            _look(many, found, is_many=True)
            _drain(tools, many, found)
            _accept(tools, many, found["accept"])
            say(f"million: run {run} of {runs}")
    return list(found.values())


def _accept(tools: Tools, many: Ours, figure: Figure) -> None:
    with Ours(tools.taker()) as empty:
        figure.ours.append(Load(tools, many).accept_for(ACCEPT_SECONDS, reuse=True))
        figure.theirs.append(Load(tools, empty).accept_for(ACCEPT_SECONDS, reuse=True))


def _drain(tools: Tools, many: Ours, found: dict[str, Figure]) -> None:
    """Ours with the many first; its primary goes away again once the oldest have been delivered."""
    with _filled(tools, FEW) as few:
        _look(few, found, is_many=False)
        found["drain"].ours.append(_rate(many))
        many.relay.wait_for(lambda: many.relay.primary_state() == "down", "the primary is seen to be away again")
        found["drain"].theirs.append(_rate(few))


def _rate(contestant: Ours) -> float:
    """Messages a second, from the primary's first answer until so many have come."""
    started = time.perf_counter()
    contestant.primary.start()
    while contestant.primary.count() < FEW:
        if time.perf_counter() - started > LONGEST_DRAIN_SECONDS:
            raise Void(f"{contestant.primary.count()} of {FEW} arrived in {LONGEST_DRAIN_SECONDS:g} s")
        time.sleep(0.01)
    seconds = time.perf_counter() - started
    contestant.primary.stop()
    return FEW / seconds


def _look(contestant: Ours, found: dict[str, Figure], *, is_many: bool) -> None:
    relay = contestant.relay

    def slowest(act: Callable[[], object], looks: int) -> float:
        most = 0.0
        for _ in range(looks):
            # What the service has answered may be kept for a second: each look is a new one.
            time.sleep(0.3)
            started = time.perf_counter()
            act()
            most = max(most, time.perf_counter() - started)
        return most

    side: Side = "ours" if is_many else "theirs"
    found["count"].add(side, slowest(relay.queue_count, LOOKS))
    found["command"].add(side, slowest(lambda: relay.cli("queue", "count"), 1))
    for path in ("/metrics", "/status.json"):
        found[path].add(side, slowest(partial(relay.http, path), LOOKS))


def _filled(tools: Tools, messages: int) -> Ours:
    """A relay that finds so many messages in its queue when it starts."""
    ours = Ours(tools.taker())
    fill(ours.relay.url, messages)
    return ours


def fill(url: str, messages: int) -> None:
    """Queue so many on a new database, an old one a millisecond."""
    Queue.open(url, node=NODE, exclusive=True, migrations=(QUEUE, OUTAGES, RECIPIENTS)).close()
    engine = make_engine(url, writes=True)
    try:
        with engine.connect() as connection:
            # Outside of a transaction, which SQLAlchemy begins with the first statement that goes through it.
            driver = connection.connection.dbapi_connection
            assert driver is not None
            driver.cursor().execute("PRAGMA synchronous=OFF")
            driver.cursor().execute("PRAGMA wal_autocheckpoint=10000")
            made = _acceptances(messages)
            while batch := list(islice(made, AT_ONCE)):
                intake.accept(connection, batch)
                connection.commit()
            driver.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()
    # Or the first commits of the service would wait for the disk to take all of it.
    with Path(url.removeprefix("sqlite:///")).open("rb") as written:
        os.fsync(written.fileno())


def _acceptances(messages: int) -> Iterator[intake.Acceptance]:
    at = utc_now() - timedelta(milliseconds=messages + 60_000)

    def clock() -> datetime:
        return at

    ids = Ids(clock)
    content = BytesContent(CONTENT)
    for _ in range(messages):
        at += timedelta(milliseconds=1)
        queue_id = ids.new()
        envelope = Envelope(
            reverse_path="a@sender.test",
            forward_paths=(RECIPIENT,),
            route="main",
            client_address="127.0.0.1",
            helo="load.sender.test",
            trace=f"Received: from load.sender.test by {NODE} with ESMTP id {queue_id}\r\n".encode(),
            id=queue_id,
        )
        yield intake.Acceptance((queue_id,), (envelope,), content, at, NODE)


def _gigabytes(contestant: Ours) -> float:
    return sum(path.stat().st_size for path in contestant.relay.directory.iterdir()) / 1e9
