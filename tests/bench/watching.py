"""What it costs to watch 1,000 primaries every 30 seconds, and to put on record what was seen.

The share of a core is what monitors, probes and record take in one interval, once the first looks are over, in a
process of their own: the drains of a whole service, which look into the queue once a second each, come on top. The
primaries are one server in another process, so that its share is not counted. Under TLS each look is a full handshake,
as with primaries that offer STARTTLS.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast

import trustme
import uvloop

from fallback_mx.config import Primary, Server
from fallback_mx.monitor import Monitor, Pulse
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.recorder import Recorder
from fallback_mx.outages.schema import MIGRATIONS
from fallback_mx.redelivery import Drain
from fallback_mx.rules.health import Observation, State
from fallback_mx.service.looks import Looks
from fallback_mx.service.next_hops import destination_of
from fallback_mx.service.station import monitor_settings
from fallback_mx.smtp.dial import DialSettings, Line, open_first
from fallback_mx.smtp.sink import Sink
from mxqueue import Queue
from mxqueue.migrate import QUEUE
from mxqueue.model import utc_now
from tests.bench.load import Void
from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PRIMARIES = 1000
INTERVAL_SECONDS = 30
# The first looks, and the second ones, which come early.
SETTLE_SECONDS = 40
# As many looks as end within a second.
TOGETHER = PRIMARIES // INTERVAL_SECONDS
ROUNDS = 30


def share_of_a_core(*, tls: bool) -> float:
    """Of a core, in percent, over one interval."""
    port = free_port()
    with _process("serve", port, *(["tls"] if tls else [])), _process("watch", port) as watching:
        time.sleep(SETTLE_SECONDS)
        began, before = time.monotonic(), _cpu_seconds(watching.pid)
        time.sleep(INTERVAL_SECONDS)
        share = 100 * (_cpu_seconds(watching.pid) - before) / (time.monotonic() - began)
        watching.terminate()
        said, _ = watching.communicate(timeout=60)
        if said.strip() != f"{PRIMARIES} up":
            raise Void(f"{said.strip()} of {PRIMARIES} primaries")
        return share


def recording_ms() -> float:
    """Milliseconds for each look that is put on record and committed, as many at a time as end within a second."""
    with tempfile.TemporaryDirectory(prefix="recording-") as directory:
        url = f"sqlite:///{directory}/queue.db"
        queue = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
        try:
            return asyncio.run(_record(OutageLog(queue.writer.submit, queue.read, "mx2")))
        finally:
            queue.close()


async def _record(log: OutageLog) -> float:
    recorders = [Recorder(f"p{number}", log, timedelta(hours=1)) for number in range(PRIMARIES)]
    turns = [recorders[start : start + TOGETHER] for start in range(0, PRIMARIES, TOGETHER)][:ROUNDS]
    # What is first on record is a new row, and then the same one extended.
    for turn in turns:
        await _write(turn)
    began = time.perf_counter()
    for turn in turns:
        await _write(turn)
    return 1000 * (time.perf_counter() - began) / sum(map(len, turns))


async def _write(turn: list[Recorder]) -> None:
    for recorder in turn:
        recorder.note(Observation(True, utc_now(), "ehlo", "250 hi", 0.01), ())
    await asyncio.gather(*(recorder.flush() for recorder in turn))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _process(part: str, port: int, *more: str) -> Iterator[subprocess.Popen[str]]:
    """One of the two below, once it says that it is ready."""
    command = [sys.executable, "-m", "tests.bench.watching", part, str(port), *more]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", f"{part} did not come up"
            yield process
        finally:
            process.kill()


# The primaries' process -----------------------------------------------------------------------------------------


async def _serve(port: int, *, tls: bool) -> None:
    sink = Sink(tls=_context() if tls else None, keep=False)
    await sink.start(port=port)
    print("ready", flush=True)
    await asyncio.Event().wait()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


# The watching process -------------------------------------------------------------------------------------------


class _NoDeliveries:
    """A drain that has nothing to do."""

    connections = 0


async def _watch(port: int, queue: Queue) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    pulse = Pulse()
    pulse.start()
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    monitors = [_monitor(number, port, log, pulse) for number in range(PRIMARIES)]
    running = [asyncio.create_task(monitor.run()) for monitor in monitors]
    print("ready", flush=True)
    await over.wait()
    print(sum(monitor.health.state is State.UP for monitor in monitors), "up", flush=True)
    for task in running:
        task.cancel()
    await asyncio.wait(running)


def _monitor(number: int, port: int, log: OutageLog, pulse: Pulse) -> Monitor:
    name, turn = f"p{number}", number / PRIMARIES
    domains, interval = [f"{name}.test"], f"{INTERVAL_SECONDS}s"
    table = Primary.model_validate(
        {"name": name, "domains": domains, "host": "127.0.0.1", "port": port, "interval": interval}
    )
    route = destination_of(table, Server(hostname="mx2.test")).route()

    async def open_line(dial: DialSettings) -> Line:
        return await open_first(await route.next_hops(), dial)

    looks = Looks(table, Server(hostname="mx2.test"), route, open_line, lambda: cast(Drain, _NoDeliveries()))
    settings = monitor_settings(table, turn)
    return Monitor(name, settings, looks.look, log, _unheard, _unheard, pulse=pulse)


def _unheard(*_: object) -> None:
    """Nobody wants to know."""


def _main(part: str, port: int, *more: str) -> None:
    if part == "serve":
        uvloop.run(_serve(port, tls="tls" in more))
        return
    with tempfile.TemporaryDirectory(prefix="watching-") as directory:
        url = f"sqlite:///{directory}/queue.db"
        queue = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
        try:
            uvloop.run(_watch(port, queue))
        finally:
            queue.close()


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
