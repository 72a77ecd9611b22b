"""A listener with its surroundings: what it is given to decide by, where it commits to, whom it tells."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ipaddress
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import UnknownRecipients, Verdict
from fallback_mx.smtp.deadlines import Patience
from fallback_mx.smtp.etrn import Callers, Pending
from fallback_mx.smtp.limits import SessionLimits
from fallback_mx.smtp.listener import Listener
from fallback_mx.smtp.networks import Networks
from fallback_mx.smtp.passage import Passage
from fallback_mx.smtp.terms import ListenerSettings, Route
from mxqueue import Envelope, QueueFull, Spool
from tests.fuzz.far_end import PEER
from tests.fuzz.primary import Primary
from tests.fuzz.script import Op, Setting

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOSTNAME = "mx2.example.net"
ROUTES = {
    "example.test": Route("one", WhenUp.GUARD),
    "second.test": Route("two", WhenUp.GUARD),
    "open.test": Route("three", WhenUp.ACCEPT),
    "xn--bcher-kva.test": Route("one", WhenUp.GUARD),
    "played.test": Route("played", WhenUp.PROXY),
    "asked.test": Route("asked", WhenUp.ACCEPT, asks_of_recipients=True, unknown_recipients=UnknownRecipients.REFUSE),
}
ALONE = {"played.test": ROUTES["played.test"]}
DELAY_SECONDS = 3.0
# The most that a message may announce.
ROOM = 50_000
HERE = Networks([ipaddress.ip_network(PEER)])
NOWHERE = Networks()
TIGHT = SessionLimits(messages=2, errors=3, idle_commands=4)
# Wide enough for more commands than there are in one turn.
WIDE = SessionLimits(errors=200, idle_commands=300)
PATIENCE = Patience(command_seconds=60.0, block_seconds=40.0, stressed_seconds=10.0)


@cache
def settings_of(chosen: Setting) -> ListenerSettings:
    tight = Setting.TIGHT in chosen
    return ListenerSettings(
        hostname=HOSTNAME,
        routes=ALONE if Setting.ALONE in chosen else ROUTES,
        max_message_size=400 if tight else 100_000,
        max_recipients=3 if tight else 20,
        max_header_size=200 if tight else 20_000,
        max_line_length=100 if tight else 65_536,
        max_content_memory=0 if tight else 32_000_000,
        session_limits=SessionLimits(messages=2, errors=3, idle_commands=4)
        if tight
        else SessionLimits(errors=200, idle_commands=300),
        patience=PATIENCE,
        proxy_protocol_from=HERE if Setting.PROXY in chosen else NOWHERE,
        xclient_from=HERE if Setting.XCLIENT in chosen else NOWHERE,
        greeting_delay_seconds=DELAY_SECONDS if Setting.DELAYED in chosen else 0.0,
        spool_directory=Path(tempfile.gettempdir()),
        # Never used: the handshake is the far end's.
        tls_context=object() if Setting.TLS in chosen else None,  # type: ignore[arg-type]
    )


@dataclass(frozen=True, slots=True)
class Committed:
    """One message that was handed to the queue, and what became of it."""

    envelopes: tuple[Envelope, ...]
    content: bytes
    is_sound: bool  # whether its size and its hash are those of the content
    result: Op


class Commits:
    """The way into a queue that does as it is told, in the order it is told."""

    def __init__(self, results: Sequence[Op]) -> None:
        self.due = 0  # commits that may have their results now
        self.handed_over: list[Committed] = []
        self._results = deque(results)
        self._waiting: deque[tuple[tuple[Envelope, ...], Spool, Callable[[Exception | None], None]]] = deque()
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"ID{self._ids}"

    def accept(self, envelopes: Sequence[Envelope], spool: Spool, then: Callable[[Exception | None], None]) -> None:
        self._waiting.append((tuple(envelopes), spool, then))

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def answer(self, *, now: bool = False) -> bool:
        """Let the oldest commit have its result, if it is due; whether that was so."""
        if not self._waiting or not (now or self.due):
            return False
        self.due = max(0, self.due - 1)
        envelopes, spool, then = self._waiting.popleft()
        content = b"".join(spool.chunks())
        is_sound = spool.size == len(content) and spool.sha256 == hashlib.sha256(content).digest()
        result = self._results.popleft() if self._results else Op.COMMITTED
        self.handed_over.append(Committed(envelopes, content, is_sound, result))
        then({Op.FULL: QueueFull("full"), Op.FAILED: RuntimeError("failed")}.get(result))
        return True


class Events:
    """What the listener tells of. Nobody looks at most of it."""

    def __init__(self) -> None:
        self.troubles: list[tuple[str, BaseException]] = []
        self.opened = self.closed = 0

    def trouble(self, part: str, error: BaseException) -> None:
        self.troubles.append((part, error))

    def session_opened(self) -> None:
        self.opened += 1

    def session_closed(self) -> None:
        self.closed += 1

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *told, **more: None


class WatchedSpool(Spool):
    def __init__(self, *arguments: Any, is_full: bool) -> None:
        super().__init__(*arguments)
        self.is_closed = False
        self._is_full = is_full

    def write(self, data: bytes) -> None:
        if self._is_full:
            raise OSError(errno.ENOSPC, "no space left")
        assert not self.is_closed, "written to a closed spool"
        super().write(data)

    def close(self) -> None:
        self.is_closed = True
        super().close()


class Acquainted:
    """Knows of a recipient what its first letter says, and says it at once or not."""

    refusing: frozenset[str] = frozenset()

    async def verdict(self, primary: str, forward_path: str, *, waits: bool) -> Verdict | None:
        await asyncio.sleep({"s": 1.0, "t": 10.0}.get(forward_path[0], 0.0))
        verdicts = {"b": Verdict.BAD, "c": Verdict.CATCH_ALL, "u": Verdict.UNKNOWN, "n": None}
        return verdicts.get(forward_path[0], Verdict.GOOD)


class WatchedListener(Listener):
    """A listener whose spools are known. Made on a running loop."""

    def __init__(self, chosen: Setting, commits: Commits, events: Events, primary: Primary) -> None:
        state = State.UP if Setting.UP in chosen else State.DOWN
        super().__init__(
            settings_of(chosen),
            commits,
            state_of=lambda name: state,
            has_room=lambda octets: octets <= ROOM,
            events=events,
            clock=lambda: NOW,
            ask=self._answer,
            knows=Acquainted(),
        )
        if Setting.XCLIENT in chosen:
            self.callers = Callers({"one": [ipaddress.ip_network(PEER)]})
        self._state = state
        self.spools: list[WatchedSpool] = []
        self._primary = primary
        self._is_full = Setting.DISK_FULL in chosen

    def spool(self) -> Spool:
        spool = WatchedSpool(self.settings.spool_directory, self.content_memory, is_full=self._is_full)
        self.spools.append(spool)
        return spool

    def _answer(self, primaries: Sequence[str], client_address: str, then: Callable[[Pending | None], None]) -> None:
        self.loop.call_soon(then, Pending(len(primaries), self._state is State.UP))

    def passage_of(self, primary: str) -> Passage | None:
        return self._primary if primary == "played" else None  # type: ignore[return-value]
