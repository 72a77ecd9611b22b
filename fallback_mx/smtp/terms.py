"""What a listener is told, and what it tells: settings, where mail for a domain goes, events, the way to the queue."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.recipients import UnknownRecipients
from fallback_mx.smtp.crowd import CrowdLimits
from fallback_mx.smtp.deadlines import Patience
from fallback_mx.smtp.limits import SessionLimits
from fallback_mx.smtp.networks import Networks
from fallback_mx.smtp.passage import PassageSettings
from mxqueue import Envelope, Spool


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail for a domain goes: the primary's name, and what happens while it is up.

    `takes_routing_characters`: whether it really has addresses that look like routes, and follows none of them.
    `asks_of_recipients`: whether something may be known of them that decides, by configuration; `calls_ahead`: whether
    the primary itself may be asked. None for the seconds of grace and greylisting is: never.
    """

    name: str
    when_up: WhenUp
    takes_routing_characters: bool = False
    grace_after_seconds: float | None = None
    greylist_seconds: float | None = None
    unknown_recipients: UnknownRecipients = UnknownRecipients.ACCEPT
    asks_of_recipients: bool = False
    calls_ahead: bool = False


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    hostname: str
    routes: Mapping[str, Route]  # by domain: lower case, A-labels, no trailing dot
    max_message_size: int = 50_000_000
    max_recipients: int = 100
    max_connections: int = 400
    max_connections_per_client: int = 100
    max_connections_per_network: int = 200
    max_header_size: int = 256_000
    max_line_length: int = 65_536
    max_content_memory: int = 32_000_000
    session_limits: SessionLimits = field(default_factory=SessionLimits)
    patience: Patience = field(default_factory=Patience)
    proxy_protocol_from: Networks = field(default_factory=Networks)
    xclient_from: Networks = field(default_factory=Networks)
    spool_directory: Path | None = None
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    passages: Mapping[str, PassageSettings] = field(default_factory=dict)  # by the primary's name
    greeting_delay_seconds: float = 0.0
    dnsbl: tuple[str, ...] = ()
    dnsbl_timeout_seconds: float = 2.0

    @property
    def postmaster_domain(self) -> str:
        """Where `RCPT TO:<postmaster>` goes (RFC 5321, section 4.5.1)."""
        return next(iter(self.routes), "")

    @property
    def crowd_limits(self) -> CrowdLimits:
        return CrowdLimits(self.max_connections, self.max_connections_per_client, self.max_connections_per_network)


class Events(Protocol):
    """What is told of: to the log and to the counters."""

    def proxied(self, envelope: Envelope, size: int, reply: str) -> None: ...
    def proxy_failed(self, primary: str, detail: str, *, ambiguous: bool) -> None: ...
    def refused(self, client_address: str, domain: str, reason: str, reply: str) -> None: ...
    def let_in(self, client_address: str, forward_path: str, primary: str, reason: str) -> None: ...
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
