"""The inbound side: sockets, what sessions share, and the way from a session into the queue.

It is handed everything it decides by (routes, the primaries' states, whether there is room) and tells `Events` what
it did. When it stops, no new connection is taken, idle clients get 421, and a message whose final dot has been read
is committed and answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from fallback_mx.entrance import Entrance
from fallback_mx.rules import trace
from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.smtp.session import Session
from mxqueue import Envelope, Spool

# For files, the database and deliveries, which share the process with the sessions.
RESERVED_DESCRIPTORS = 32


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail for a domain goes: the primary's name, and what happens while it is up."""

    name: str
    when_up: WhenUp


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    hostname: str
    routes: Mapping[str, Route]  # by domain: lower case, A-labels, no trailing dot
    max_message_size: int = 50_000_000
    max_recipients: int = 100
    max_connections: int = 400
    spool_directory: Path | None = None
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def postmaster_domain(self) -> str:
        """Where `RCPT TO:<postmaster>` goes (RFC 5321, section 4.5.1)."""
        return next(iter(self.routes), "")


class Events(Protocol):
    """What is told of: to the log and to the counters."""

    def refused(self, client_address: str, domain: str, reason: str, reply: str) -> None: ...
    def session_limit(self, client_address: str, limit: str) -> None: ...
    def session_opened(self) -> None: ...
    def session_closed(self) -> None: ...
    def trouble(self, part: str, error: BaseException) -> None: ...


class Commits(Protocol):
    """The way into the queue: in this process, or through the one that has it."""

    def accept(self, envelopes: Sequence[Envelope], spool: Spool, then: Callable[[Exception | None], None]) -> None:
        """Commit these, then call `then` on the event loop: with None once they are on stable storage."""
        ...

    def new_id(self) -> str: ...


class Listener:
    """Accepts connections on every address it is told to, and makes a Session of each."""

    def __init__(
        self,
        settings: ListenerSettings,
        commits: Commits,
        *,
        state_of: Callable[[str], State],
        has_room: Callable[[int], bool],
        events: Events,
        clock: Callable[[], datetime],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.state_of = state_of
        self.has_room = has_room
        self.events = events
        self._commits = commits
        self._clock = clock
        self._entrance = Entrance("listener", lambda: Session(self), RESERVED_DESCRIPTORS)
        self._sessions: set[Session] = set()
        self._committing = 0
        self._stopping = False
        self._quiet = asyncio.Event()
        self.configure(settings)

    def configure(self, settings: ListenerSettings) -> None:
        """Take new settings: sessions see them at their next command."""
        self.settings = settings
        lines = ["PIPELINING", f"SIZE {settings.max_message_size}", "8BITMIME", "ENHANCEDSTATUSCODES"]
        self._ehlo_tls = self._render(lines)
        self._ehlo_clear = self._render([*lines, "STARTTLS"]) if settings.tls_context else self._ehlo_tls

    def _render(self, lines: list[str]) -> bytes:
        every = [self.settings.hostname, *lines]
        marks = ["-"] * (len(every) - 1) + [" "]
        return "".join(f"250{mark}{line}\r\n" for mark, line in zip(marks, every, strict=True)).encode()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on these sockets, see `ports.open_ports`."""
        await self._entrance.open(sockets)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return self._entrance.addresses

    @property
    def listening(self) -> bool:
        return self._entrance.is_open

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    async def stop(self, grace_seconds: float) -> None:
        """Stop taking connections and end the sessions, the last of them by force when the grace time is over."""
        self._stopping = True
        self._entrance.close()
        for session in list(self._sessions):
            session.tell_to_leave()
        if self._sessions or self._committing:
            self._quiet.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self._quiet.wait()
        for session in list(self._sessions):
            session.abort()
        if self._committing:
            # What is being committed is committed, however long the disk takes.
            self._quiet.clear()
            await self._quiet.wait()

    # For sessions -----------------------------------------------------------------------------------------------

    def opened(self, session: Session) -> None:
        self._sessions.add(session)
        self.events.session_opened()

    def closed(self, session: Session) -> None:
        self._sessions.discard(session)
        self.events.session_closed()
        self._notice_quiet()

    def _notice_quiet(self) -> None:
        if not self._sessions and not self._committing:
            self._quiet.set()

    def refusal(self) -> str:
        """Why a new connection is not served, "" where it is."""
        if self._stopping:
            return f"421 4.3.2 {self.settings.hostname} is stopping, please try again"
        if len(self._sessions) > self.settings.max_connections:
            self.events.session_limit("", "connections")
            return "421 4.7.0 Too many connections at the moment, please try again"
        return ""

    def ehlo_reply(self, tls: bool) -> bytes:
        return self._ehlo_tls if tls else self._ehlo_clear

    def envelope(
        self,
        *,
        reverse_path: str,
        forward_paths: tuple[str, ...],
        route: str,
        client_address: str,
        helo: str,
        protocol: str,
        body: str,
    ) -> Envelope:
        """An envelope with its queue id and the Received line that names it."""
        queue_id = self._commits.new_id()
        line = trace.received(
            helo=helo,
            client_address=client_address,
            hostname=self.settings.hostname,
            protocol=protocol,
            queue_id=queue_id,
            at=self._clock(),
        )
        return Envelope(
            reverse_path=reverse_path,
            forward_paths=forward_paths,
            route=route,
            client_address=client_address,
            helo=helo,
            trace=line,
            body=body,
            id=queue_id,
        )

    def commit(self, envelopes: Sequence[Envelope], spool: Spool, answer: Callable[[Exception | None], None]) -> None:
        """Put this in the queue and then `answer`, on the event loop. The spool is closed when that is done, whether
        or not anybody still waits for it."""

        def on_commit(error: Exception | None) -> None:
            self._committing -= 1
            answer(error)
            spool.close()
            self._notice_quiet()

        self._committing += 1
        self._commits.accept(envelopes, spool, on_commit)
