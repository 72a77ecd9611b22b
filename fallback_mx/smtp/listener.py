"""The inbound side: sockets, what sessions share, and the way from a session into the queue.

It is handed everything it decides by (routes, the primaries' states, whether there is room) and tells `Events` what
it did. When it stops, no new connection is taken, idle clients get 421, and a message whose final dot has been read
is committed and answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fallback_mx.entrance import Entrance
from fallback_mx.rules import trace
from fallback_mx.rules.admission import PLAY_THROUGH, TAKE, Verdict, admit
from fallback_mx.rules.health import State
from fallback_mx.smtp import offer
from fallback_mx.smtp.acquaintances import Knows, KnowsNothing
from fallback_mx.smtp.crowd import Crowd
from fallback_mx.smtp.deadlines import Deadlines
from fallback_mx.smtp.doors import Doors
from fallback_mx.smtp.etrn import Ask, Callers
from fallback_mx.smtp.judgement import Judge, MakeResolver
from fallback_mx.smtp.limits import CROWDED
from fallback_mx.smtp.passage import Look, Passage, Passages
from fallback_mx.smtp.session import Session
from fallback_mx.smtp.terms import Commits, Events, ListenerSettings, Route
from fallback_mx.smtp.transaction import Bounds, Transaction
from mxqueue import Envelope, Spool, SpoolMemory

# For files, the database and deliveries, which share the process with the sessions.
RESERVED_DESCRIPTORS = 32


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
        crowd: Crowd | None = None,
        look: Look = lambda name: None,
        ask: Ask = lambda primaries, client_address, then: None,
        knows: Knows | None = None,
        doors: Doors | None = None,
        make_resolver: MakeResolver | None = None,
    ) -> None:
        """`look` hears of a primary that seems to fail while mail is played through to it, `ask` of its ETRN; `knows`
        is asked what is known of recipients; `doors` remembers who was sent away; `make_resolver` as for Judge."""
        self.loop = asyncio.get_running_loop()
        self.crowd = crowd if crowd is not None else Crowd()
        self.deadlines = Deadlines(self.loop, lambda: self.crowd.is_dense, settings.patience)
        self.content_memory = SpoolMemory(settings.max_content_memory)
        self.state_of = state_of
        self.has_room = has_room
        self.events = events
        self.ask = ask
        self.callers = Callers({})
        self._size_limits: Mapping[str, int] = {}
        self._passages = Passages(look)
        self.judge = Judge(
            knows or KnowsNothing(), doors or Doors(time.monotonic), state_of, events.trouble, make_resolver
        )
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
        self.bounds = Bounds(settings.max_message_size, settings.max_header_size, settings.max_line_length)
        self.crowd.limits = settings.crowd_limits
        self.deadlines.configure(settings.patience)
        self.content_memory.limit = settings.max_content_memory
        self._passages.configure(settings.passages)
        self.judge.configure(settings.dnsbl, settings.dnsbl_timeout_seconds)
        routes = list(settings.routes.values())
        # With one primary it is known at MAIL already whose reply is wanted.
        self.only_route = routes[0] if len({route.name for route in routes}) == 1 else None
        self._render_offer()

    def learn(self, callers: Callers, size_limits: Mapping[str, int]) -> None:
        """Who may ask for a primary's mail, and the largest message that each primary takes."""
        self.callers = callers
        if size_limits != self._size_limits:
            self._size_limits = size_limits
            self._render_offer()

    def _render_offer(self) -> None:
        settings = self.settings
        names = {route.name for route in settings.routes.values()}
        # What is too large for one primary may be right for another: for whom a message is shows at RCPT.
        self.greeting = f"220 {settings.hostname} ESMTP Fallback MX\r\n".encode("ascii", "replace")
        self.largest = max((self.size_limit(name) for name in names), default=settings.max_message_size)
        self._ehlo_tls = offer.ehlo_reply(settings, self.largest)
        self._ehlo_clear = offer.with_line(self._ehlo_tls, offer.STARTTLS) if settings.tls_context else self._ehlo_tls

    def size_limit(self, primary: str) -> int:
        """The largest message that is taken for this primary: what it refuses for its size would be held here."""
        own = self.settings.max_message_size
        theirs = self._size_limits.get(primary)
        return own if theirs is None else min(own, max(0, theirs - trace.MAX_OCTETS))

    def bounds_of(self, transaction: Transaction) -> Bounds:
        """How large this transaction's message may be."""
        if not self._size_limits:
            return self.bounds
        smallest = min(self.size_limit(route.name) for route in transaction.recipients.values())
        return replace(self.bounds, message_octets=smallest)

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
        await self.judge.close()

    # For sessions -----------------------------------------------------------------------------------------------

    def opened(self, session: Session) -> None:
        self._sessions.add(session)
        self.events.session_opened()

    def closed(self, session: Session) -> None:
        self._sessions.discard(session)
        if session.counted_as is not None:
            self.crowd.leave(session.counted_as)
            session.counted_as = None
        self.events.session_closed()
        self._notice_quiet()

    def _notice_quiet(self) -> None:
        if not self._sessions and not self._committing:
            self._quiet.set()

    def passage_of(self, primary: str) -> Passage | None:
        """The way through to it. Where there is none its mail is taken for the queue."""
        return self._passages.get(primary)

    def verdict(self, route: Route) -> Verdict:
        """What is to be done with mail for this route now."""
        verdict = admit(route.when_up, self.state_of(route.name))
        if verdict is PLAY_THROUGH and self.passage_of(route.name) is None:
            return TAKE
        return verdict

    def refusal(self, session: Session) -> str:
        """Why a client is not served, "" where it is: asked when it comes, and when it says whom it speaks for."""
        if self._stopping:
            return f"421 4.3.2 {self.settings.hostname} is stopping, please try again"
        if session.counted_as is not None:
            self.crowd.leave(session.counted_as)
            session.counted_as = None
        limit = self.crowd.enter(session.client_address)
        if limit:
            self.events.session_limit(session.client_address, limit)
            return CROWDED[limit]
        session.counted_as = session.client_address
        return ""

    @property
    def greeting_delay_seconds(self) -> float:
        """How long a client waits for its greeting: not at all where connections are scarce."""
        delay = self.settings.greeting_delay_seconds
        return 0.0 if delay and self.crowd.is_dense else delay

    def spool(self) -> Spool:
        """Where the content of one message goes."""
        return Spool(self.settings.spool_directory, self.content_memory)

    def ehlo_reply(self, tls: bool) -> bytes:
        return self._ehlo_tls if tls else self._ehlo_clear

    def stamp(self, helo: str, client_address: str, protocol: str) -> tuple[str, bytes]:
        """A fresh queue id, and the Received line that names it."""
        queue_id = self._commits.new_id()
        line = trace.received(
            helo=helo,
            client_address=client_address,
            hostname=self.settings.hostname,
            protocol=protocol,
            queue_id=queue_id,
            at=self._clock(),
        )
        return queue_id, line

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
