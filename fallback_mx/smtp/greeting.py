"""The greeting of one connection, where it is delayed: who speaks before it is no mail server.

A client waits for the greeting before it sends anything (RFC 5321, sections 3.1 and 4.3.1), for five minutes if need be
(section 4.5.3.2.1). Programs that only pour out their mail do not. They get 554 in the greeting's place, the code that
section 3.1 has for it. 521 would say that this host never takes mail (RFC 7504), which is not so. That section has the
server wait for QUIT then; we close, since what comes from such a client has not been asked for.

Nothing here reads a clock or a socket: the wire says when what happened.
"""

from __future__ import annotations

from enum import Enum, auto

SPOKE_EARLY = "554 5.5.1 Protocol error: you spoke before you were greeted"


class _Phase(Enum):
    NEW = auto()
    WAITING = auto()
    GREETED = auto()
    REFUSED = auto()


class Greeting:
    """When to greet, and whom not to. `delay_seconds` of 0 greets at once and never refuses."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._due_at = 0.0
        self._phase = _Phase.NEW

    def opened(self, now: float) -> float:
        """The connection stands: how many seconds to wait before it is greeted, 0 for not at all."""
        if self._phase is _Phase.NEW:
            self._due_at = now + self._delay_seconds
            self._phase = _Phase.WAITING if self._delay_seconds > 0 else _Phase.GREETED
        return max(self._due_at - now, 0.0) if self._phase is _Phase.WAITING else 0.0

    @property
    def is_waited_for(self) -> bool:
        return self._phase is _Phase.WAITING

    def early_input(self) -> str:
        """Octets came. The reply to close with where they came before the greeting, "" where all is well.

        Said once: of what comes after it nothing is answered.
        """
        if self._phase is not _Phase.WAITING:
            return ""
        self._phase = _Phase.REFUSED
        return SPOKE_EARLY

    def due(self, now: float) -> bool:
        """The timer went off: whether to greet now. False where it is too soon or the client was refused."""
        if self._phase is not _Phase.WAITING or now < self._due_at:
            return False
        self._phase = _Phase.GREETED
        return True
