"""Where a client waits for its greeting, if that is delayed: see `greeting` for whom this keeps out, and why.

It takes the place of the connection's protocol until then. Who speaks too early is told so and cut off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fallback_mx.smtp.greeting import Greeting

if TYPE_CHECKING:
    from fallback_mx.smtp.session import Session


class Vestibule(asyncio.Protocol):
    """Lets the session greet when the time has come."""

    def __init__(self, session: Session, delay_seconds: float) -> None:
        self._session = session
        self._greeting = Greeting(delay_seconds)
        self._wait(self._greeting.opened(session.loop.time()))
        # It waits for us, and not we for it.
        session.due = float("inf")
        session.transport.set_protocol(self)

    def _wait(self, seconds: float) -> None:
        self._timer = self._session.loop.call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        session = self._session
        if session.is_leaving:
            return
        now = session.loop.time()
        if self._greeting.due(now):
            session.transport.set_protocol(session)
            session.greet()
            session.go_on()
        elif self._greeting.is_waited_for:
            self._wait(self._greeting.opened(now))

    def data_received(self, data: bytes) -> None:
        session = self._session
        reply = self._greeting.early_input()
        if session.is_leaving or not reply:
            return
        self._timer.cancel()
        session.transport.set_protocol(session)
        session.spoke_early(reply)

    def eof_received(self) -> bool:
        return self._session.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._session.connection_lost(error)
