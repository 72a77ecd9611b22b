"""What a session gathers before it can commit: the envelope (RFC 5321, section 3.3) and the content.

MAIL and RCPT are read and judged here. What is not taken is a Refusal, and changes nothing.

Content goes to a spool. Where that fails (a full disk) the error is kept, and the rest is read to its end and dropped,
so that the sender can be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fallback_mx.rules.admission import PLAY_THROUGH, USE_PRIMARY, Verdict
from fallback_mx.smtp import parameters
from fallback_mx.smtp.content import LineLimit
from fallback_mx.smtp.header import Header
from fallback_mx.smtp.parameters import NO_REQUEST, BadParameter, MailParameters
from fallback_mx.smtp.paths import BadPath, Path, forward_path, reverse_path
from mxqueue import Envelope, ReportRequest, Spool

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Listener
    from fallback_mx.smtp.terms import Route


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a message may be, its header, and each of its lines without its CRLF (RFC 5321, section 4.5.3.1.6)."""

    message_octets: int = 50_000_000
    header_octets: int = 256_000
    line_octets: int = 65_536


SHOWN_OUT = "451 4.3.2 The primary mail server has ended the connection, please try again later"
NO_SPACE = "452 4.3.1 No room for mail here at the moment, please try again later"


class Refusal(Exception):
    """A command that is not obeyed, and the reply that says so.

    `reason` names it in the log and the counters; a mistake in syntax has none. `is_error` tells whether it counts
    against the session.
    """

    def __init__(self, reply: str, reason: str = "", domain: str = "", *, is_error: bool | None = None) -> None:
        super().__init__(reply)
        self.reply = reply
        self.reason = reason
        self.domain = domain
        self.is_error = reply.startswith("5") if is_error is None else is_error


class Named(NamedTuple):
    """A recipient as RCPT named it, and what is to be done with mail for it now."""

    address: str
    route: Route
    request: ReportRequest
    verdict: Verdict

    @property
    def has_grace(self) -> bool:
        """Whether it is taken though its primary is up and guards its door: its sender may be cut off from that."""
        return self.verdict is USE_PRIMARY

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def is_postmaster(self) -> bool:
        return self.address.rpartition("@")[0].strip('"').lower() == "postmaster"


class Transaction:
    """A mail transaction under way (RFC 5321, section 3.3).

    `recipients` are the forward-paths in the order they came in, each with its route; `requests` has those for which
    the sender asked to be told something. `played` is the primary that it is played through to, empty where it is for
    the queue; `fallen` the one that failed while it was, and `is_shown_out` tells that the primary is there and wants
    no more of it: it is refused for now, whatever follows.
    """

    __slots__ = ("fallen", "is_shown_out", "parameters", "played", "recipients", "requests", "reverse_path")

    def __init__(self, reverse_path: str, parameters: MailParameters) -> None:
        self.reverse_path = reverse_path
        self.parameters = parameters
        self.recipients: dict[str, Route] = {}
        self.requests: dict[str, ReportRequest] = {}
        self.played = ""
        self.fallen = ""
        self.is_shown_out = False

    @classmethod
    def begin(cls, argument: str, listener: Listener) -> Transaction:
        """What MAIL begins. Raises Refusal."""
        try:
            path, rest = reverse_path(argument)
            given = parameters.of_mail(rest)
        except BadPath as error:
            raise Refusal(f"501 5.1.7 {error}") from None
        except BadParameter as error:
            raise Refusal(str(error)) from None
        limit = listener.largest
        if path is not None and path.is_wide and not given.smtputf8:
            raise Refusal("550 5.6.7 An address that is not ASCII wants SMTPUTF8")
        if given.size > limit:
            text = f"552 5.3.4 Message too large, at most {limit} octets are taken"
            raise Refusal(text, "size", is_error=False)
        if not listener.has_room(given.size):
            raise Refusal(NO_SPACE, "space")
        begun = cls("" if path is None else path.address, given)
        only = listener.only_route
        if only is not None and listener.verdict(only) is PLAY_THROUGH:
            begun.played = only.name
        return begun

    def name(self, argument: str, listener: Listener, client_address: str) -> Named | None:
        """What RCPT names, None for one that is taken already. Raises Refusal."""
        try:
            path, rest = forward_path(argument)
            request = parameters.of_rcpt(rest, smtputf8=self.parameters.smtputf8)
        except BadPath as error:
            raise Refusal(f"501 5.1.3 {error}") from None
        except BadParameter as error:
            raise Refusal(str(error)) from None
        if path.is_wide and not self.parameters.smtputf8:
            raise Refusal("553 5.6.7 An address that is not ASCII wants SMTPUTF8 at MAIL")
        address, route = self._address(path, listener)
        # One that is named twice is one recipient, as it was named first.
        if address in self.recipients:
            return None
        limit = listener.size_limit(route.name)
        if self.parameters.size > limit:
            text = f"552 5.3.4 Message too large for this recipient, at most {limit} octets are taken"
            raise Refusal(text, "size", address.rpartition("@")[2], is_error=False)
        named = Named(address, route, request, listener.verdict(route))
        if len(self.recipients) >= listener.settings.max_recipients:
            text = "452 4.5.3 Too many recipients, please send the rest separately"
            raise Refusal(text, "recipients", named.domain)
        if named.has_grace and not listener.judge.has_grace(client_address, self.reverse_path, named):
            raise Refusal("451 4.3.2 The primary mail server is up, please use it", "guard", named.domain)
        return named

    def take(self, named: Named) -> None:
        self.recipients[named.address] = named.route
        if named.request is not NO_REQUEST:
            self.requests[named.address] = named.request

    def is_for_primary(self, named: Named) -> bool:
        """Whether a recipient is played through. Two ways in one transaction would have two replies to one end of data:
        what was begun one way ends so, and who is to go another is refused for now. Raises Refusal."""
        verdict = named.verdict
        if not (verdict is PLAY_THROUGH or self.played or self.fallen):
            return False
        name = named.route.name
        if self.is_shown_out:
            raise Refusal(SHOWN_OUT, "primary")
        if name == self.fallen:
            return False
        if not self.recipients:
            self.played = name if verdict is PLAY_THROUGH else ""
        elif (self.played or verdict is PLAY_THROUGH) and name != self.played:
            is_queued = not self.played and any(name == each.name for each in self.recipients.values())
            if not is_queued:
                raise Refusal("452 4.5.3 Please send to recipients at other servers separately", "separately")
        return name == self.played

    @staticmethod
    def _address(path: Path, listener: Listener) -> tuple[str, Route]:
        """The whole address of a recipient that we stand in for, and its route. Raises Refusal."""
        settings = listener.settings
        domain = path.domain or settings.postmaster_domain
        route = settings.routes.get(domain)
        if path.could_be_followed and not (route is not None and route.takes_routing_characters):
            raise Refusal("553 5.1.3 Routes in the local part are not followed", "syntax", domain)
        if route is None:
            if path.is_literal:
                raise Refusal("553 5.1.3 Address literals are not taken as recipients", "syntax", domain)
            raise Refusal("550 5.7.1 We do not relay for this domain", "relay", domain)
        return path.address if path.domain else f"{path.local}@{domain}", route

    def envelopes(
        self, listener: Listener, *, client_address: str, helo: str, is_esmtp: bool, is_tls: bool
    ) -> list[Envelope]:
        """One envelope for every route that the recipients are on: committed together, or not at all."""
        paths: dict[str, list[str]] = {}
        for address, route in self.recipients.items():
            paths.setdefault(route.name, []).append(address)
        given = self.parameters
        protocol = _PROTOCOLS[given.smtputf8, is_esmtp, is_tls]
        made = []
        for name, addresses in paths.items():
            queue_id, line = listener.stamp(helo, client_address, protocol)
            made.append(
                Envelope(
                    reverse_path=self.reverse_path,
                    forward_paths=tuple(addresses),
                    route=name,
                    client_address=client_address,
                    helo=helo,
                    trace=line,
                    body=given.body,
                    smtputf8=given.smtputf8,
                    id=queue_id,
                    ret=given.ret,
                    envid=given.envid,
                    report_requests=self._requests(addresses),
                )
            )
        return made

    def _requests(self, addresses: list[str]) -> tuple[ReportRequest, ...]:
        if not self.requests:
            return ()
        return tuple(self.requests.get(address, NO_REQUEST) for address in addresses)


# By SMTPUTF8, EHLO and TLS: the word of the Received line (RFC 3848; RFC 6531, section 4.3).
_PROTOCOLS = {
    (False, False, False): "SMTP",
    (False, False, True): "SMTP",
    (False, True, False): "ESMTP",
    (False, True, True): "ESMTPS",
    (True, False, False): "UTF8SMTP",
    (True, False, True): "UTF8SMTPS",
    (True, True, False): "UTF8SMTP",
    (True, True, True): "UTF8SMTPS",
}


class Endless(Exception):
    """The client goes on far beyond the largest message we take."""


class Intake:
    """Where the octets of one message go: the spool, and beside it what must be known before the commit.

    `fault` is why the message will not be taken, once that is so: "size", "header_size", "long_lines". Once it is
    dropped no copy is kept, and it is looked at all the same.
    """

    def __init__(self, spool: Spool, bounds: Bounds) -> None:
        self.spool = spool
        self.failed: OSError | None = None
        self.octets = 0
        self.fault = ""
        self.bounds = bounds
        self._is_dropped = False
        self._header = Header()
        self._lines = LineLimit(bounds.line_octets)

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        if self.fault:
            return
        header = self._header
        if not header.has_ended:
            header.feed(data)
        if self.octets > self.bounds.message_octets:
            self.fault = "size"
        elif header.octets > self.bounds.header_octets:
            self.fault = "header_size"
        elif self._lines.is_broken_by(data):
            self.fault = "long_lines"
        if self.fault:
            # The rest is read to its end, and none of it is wanted any more.
            self.spool.close()
            return
        # A primary may still take what there is no room for here: what it must not get is noticed all the same.
        if self._is_dropped or self.failed is not None:
            return
        try:
            self.spool.write(data)
        except OSError as error:
            self.failed = error

    def drop(self) -> None:
        """Nobody will want what has come and what comes."""
        if not self._is_dropped:
            self._is_dropped = True
            self.spool.close()

    @property
    def hops(self) -> int:
        return self._header.hops
