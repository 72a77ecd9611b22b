"""A primary on a loop and a thread of its own, for tests that are not asynchronous themselves."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from fallback_mx.smtp.sink import EXTENSIONS, Script, Sink, SinkMessage
from tests.fakes.loop_thread import LoopThread
from tests.fakes.ports import free_port


class FakePrimary:
    """A Sink that a test starts (`answer`) and stops (`go_away`) at will, always on the same port."""

    def __init__(
        self,
        replies: Mapping[str, Script] | None = None,
        extensions: tuple[str, ...] = EXTENSIONS,
        sink: Sink | None = None,
    ) -> None:
        self._thread = LoopThread()
        self.sink = sink or Sink(replies=replies, extensions=extensions)
        self.port = free_port()
        self.answer()

    def answer(self) -> None:
        self._thread.do(self.sink.start("127.0.0.1", self.port))

    def go_away(self) -> None:
        self._thread.do(self.sink.stop())

    @property
    def messages(self) -> list[SinkMessage]:
        return list(self.sink.messages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_away()
        self._thread.close()
