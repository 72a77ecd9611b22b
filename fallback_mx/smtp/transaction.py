"""What a session gathers before it can commit: the envelope (RFC 5321, section 3.3) and the content.

MAIL and RCPT are read and judged here. What is not taken is a Refusal, and changes nothing.

Content goes to a spool. Where that fails (a full disk) the error is kept, and the rest is read to its end and dropped,
so that the sender can be told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fallback_mx.rules import trace
from fallback_mx.rules.admission import Verdict, admit
from fallback_mx.smtp import parameters
from fallback_mx.smtp.parameters import NO_REQUEST, BadParameter, MailParameters
from fallback_mx.smtp.paths import BadPath, Path, forward_path, reverse_path
from mxqueue import Envelope, ReportRequest, Spool

if TYPE_CHECKING:
    from fallback_mx.smtp.listener import Listener, Route

HEAD_OCTETS = 64 * 1024


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


class Transaction:
    """A mail transaction under way (RFC 5321, section 3.3).

    `recipients` are the forward-paths in the order they came in, each with its route; `requests` has those for which
    the sender asked to be told something.
    """

    __slots__ = ("parameters", "recipients", "requests", "reverse_path")

    def __init__(self, reverse_path: str, parameters: MailParameters) -> None:
        self.reverse_path = reverse_path
        self.parameters = parameters
        self.recipients: dict[str, Route] = {}
        self.requests: dict[str, ReportRequest] = {}

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
        limit = listener.settings.max_message_size
        if path is not None and path.is_wide and not given.smtputf8:
            raise Refusal("550 5.6.7 An address that is not ASCII wants SMTPUTF8")
        if given.size > limit:
            text = f"552 5.3.4 Message too large, at most {limit} octets are taken"
            raise Refusal(text, "size", is_error=False)
        if not listener.has_room(given.size):
            raise Refusal(NO_SPACE, "space")
        return cls("" if path is None else path.address, given)

    def add(self, argument: str, listener: Listener) -> None:
        """Take what RCPT names. Raises Refusal."""
        try:
            path, rest = forward_path(argument)
            request = parameters.of_rcpt(rest, smtputf8=self.parameters.smtputf8)
        except BadPath as error:
            raise Refusal(f"501 5.1.3 {error}") from None
        except BadParameter as error:
            raise Refusal(str(error)) from None
        if path.is_wide and not self.parameters.smtputf8:
            raise Refusal("553 5.6.7 An address that is not ASCII wants SMTPUTF8 at MAIL")
        address, route = self._judge(path, listener)
        # One that is named twice is one recipient, as it was named first.
        if address not in self.recipients:
            self.recipients[address] = route
            if request is not NO_REQUEST:
                self.requests[address] = request

    def _judge(self, path: Path, listener: Listener) -> tuple[str, Route]:
        """The whole address of a recipient that is taken, and its route. Raises Refusal."""
        settings = listener.settings
        domain = path.domain or settings.postmaster_domain
        route = settings.routes.get(domain)
        if path.could_be_followed and not _takes_routing_characters(route):
            raise Refusal("553 5.1.3 Routes in the local part are not followed", "syntax", domain)
        if route is None:
            if path.is_literal:
                raise Refusal("553 5.1.3 Address literals are not taken as recipients", "syntax", domain)
            raise Refusal("550 5.7.1 We do not relay for this domain", "relay", domain)
        if admit(route.when_up, listener.state_of(route.name)) is Verdict.USE_PRIMARY:
            raise Refusal("451 4.3.2 The primary mail server is up, please use it", "guard", domain)
        address = path.address if path.domain else f"{path.local}@{domain}"
        if len(self.recipients) >= settings.max_recipients and address not in self.recipients:
            raise Refusal("452 4.5.3 Too many recipients, please send the rest separately", "recipients", domain)
        return address, route

    def envelopes(
        self, listener: Listener, *, client_address: str, helo: str, is_esmtp: bool, is_tls: bool
    ) -> list[Envelope]:
        """One envelope for every route that the recipients are on: committed together, or not at all."""
        paths: dict[str, list[str]] = {}
        for address, route in self.recipients.items():
            paths.setdefault(route.name, []).append(address)
        protocol = _PROTOCOLS[self.parameters.smtputf8, is_esmtp, is_tls]
        return [
            listener.envelope(
                reverse_path=self.reverse_path,
                forward_paths=tuple(addresses),
                report_requests=self._requests(addresses),
                route=name,
                client_address=client_address,
                helo=helo,
                protocol=protocol,
                parameters=self.parameters,
            )
            for name, addresses in paths.items()
        ]

    def _requests(self, addresses: list[str]) -> tuple[ReportRequest, ...]:
        if not self.requests:
            return ()
        return tuple(self.requests.get(address, NO_REQUEST) for address in addresses)


def _takes_routing_characters(route: Route | None) -> bool:
    """Whether the primary has addresses that look like routes; one of which it is not known has none."""
    return getattr(route, "takes_routing_characters", False)


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
    """Where the octets of one message go: the spool, and beside it what must be known before the commit."""

    def __init__(self, spool: Spool, limit: int) -> None:
        self.spool = spool
        self.failed: OSError | None = None
        self.octets = 0
        self._limit = limit
        self._head = bytearray()

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        if self.failed is not None or self.too_large:
            return
        if len(self._head) < HEAD_OCTETS:
            self._head += data[: HEAD_OCTETS - len(self._head)]
        try:
            self.spool.write(data)
        except OSError as error:
            self.failed = error

    @property
    def too_large(self) -> bool:
        return self.octets > self._limit

    @property
    def hops(self) -> int:
        return trace.hops(bytes(self._head))
