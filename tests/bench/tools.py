"""What sends the load and what takes the mail: smtp-source and smtp-sink, or stand-ins where Postfix is missing.

The stand-ins are in Python and cost more than the tools they stand in for: figures taken with them say little beside
others, and the report says so.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from fallback_mx.smtp.sink import Sink
from tests.fakes.ports import free_port
from tests.fakes.smtp_tools import LoadFailed, SmtpSink, missing, smtp_source

ROOT = Path(__file__).resolve().parents[2]


class Source(Protocol):
    """Sends, and returns the seconds it took; raises LoadFailed unless everything was answered with 250."""

    def __call__(
        self, port: int, *, messages: int, sessions: int, size: int, recipient: str, reuse: bool = True
    ) -> float: ...


class Taker(Protocol):
    """The primary that comes back: nothing listens on its port before `start`, nor after `stop`.

    `count` is of messages answered with 250 since the last start.
    """

    port: int

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def count(self) -> int: ...


@dataclass(frozen=True)
class Tools:
    source: Source
    taker: Callable[[], Taker]
    note: str


def choose() -> Tools:
    lacking = missing()
    if lacking is None:
        return Tools(smtp_source, SmtpSink, "load by smtp-source, drained into smtp-sink")
    return Tools(stand_in_source, StandInSink, f"{lacking}: load and sink are Python stand-ins, figures are low")


def stand_in_source(port: int, *, messages: int, sessions: int, size: int, recipient: str, reuse: bool = True) -> float:
    arguments = [str(value) for value in (port, messages, sessions, size, recipient, int(reuse))]
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.bench.stand_in_source", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(f"the stand-in for smtp-source ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - started


class StandInSink:
    """The project's own sink on a thread with a loop of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self._sink = Sink(keep=False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        self._sink.message_count = 0
        asyncio.run_coroutine_threadsafe(self._sink.start(port=self.port), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._sink.stop(), self._loop).result(10)

    def count(self) -> int:
        return self._sink.message_count
