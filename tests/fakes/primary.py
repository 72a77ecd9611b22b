"""A primary on a loop and a thread of its own, for tests that are not asynchronous themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from fallback_mx.smtp.sink import Script, Sink, SinkMessage


class FakePrimary:
    """A Sink that a test starts (`answer`) and stops (`go_away`) at will, always on the same port."""

    def __init__(self, replies: Mapping[str, Script] | None = None, extensions: tuple[str, ...] | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.sink = Sink(replies=replies) if extensions is None else Sink(replies=replies, extensions=extensions)
        self.answer()
        self.port = self.sink.port

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def answer(self) -> None:
        self._do(self.sink.start("127.0.0.1", self.sink.port))

    def go_away(self) -> None:
        self._do(self.sink.stop())

    @property
    def messages(self) -> list[SinkMessage]:
        return list(self.sink.messages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
