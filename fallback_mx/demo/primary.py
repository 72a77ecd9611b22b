"""The demo's primary: a small real SMTP server on a loop of its own, which goes away and comes back on one port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from fallback_mx.demo.check import Arrival
from fallback_mx.smtp.sink import Sink


class Primary:
    """Driven from the demo's thread; the server itself runs in another."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="demo-primary", daemon=True)
        self._thread.start()
        self._sink = Sink()
        self.port = 0

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def answer(self) -> None:
        """Listen, at first on a free port and then always on that one."""
        self._do(self._sink.start("127.0.0.1", self.port))
        self.port = self._sink.port

    def go_away(self) -> None:
        """Cut every connection and stop listening."""
        self._do(self._sink.stop())

    @property
    def count(self) -> int:
        """Messages taken so far."""
        return self._sink.message_count

    def arrivals(self) -> list[Arrival]:
        return [Arrival(each.reverse_path, each.forward_paths, each.content) for each in self._sink.messages]

    def close(self) -> None:
        self.go_away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
