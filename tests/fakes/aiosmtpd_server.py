"""aiosmtpd as it comes, as a primary: what people write their own small mail servers with."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.fakes.ports import free_port


class AiosmtpdServer:
    """`stop` and `answer` it at will, always on the same port; what it keeps is in memory."""

    def __init__(self) -> None:
        self.port = free_port()
        self._taken: list[bytes] = []
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        self.answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, ident="aiosmtpd")
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def messages(self) -> list[bytes]:
        return list(self._taken)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        assert isinstance(envelope.content, bytes)
        self._taken.append(envelope.content)
        return f"250 2.0.0 Ok: {len(self._taken)}"
