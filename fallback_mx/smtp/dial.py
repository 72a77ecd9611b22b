"""From a next hop to a line: connection, banner, EHLO, STARTTLS, AUTH (RFC 5321, section 3.1; RFC 3207; RFC 4954).

Deliveries, probes, questions and transactions that are played through all come this way: a primary that is up is one
that a message can be given to. Every failure is NoConnection with the phase it got to: it says something about the
server, or about us, and nothing about any message. Each address of each host is tried in turn; a host that greets us
with our own name is ourselves, and neither it nor anything behind it is tried.

With the policy `opportunistic` a server whose TLS does not work is spoken to in clear, on a connection of its own, and
`Greeting.tls_error` says so. Every other policy but `none` never speaks in clear.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import dns.asyncresolver

from fallback_mx.rules.disposition import Loop, NoConnection, Reply
from fallback_mx.smtp import certificates, dane, login, offered, reach, tls_policy
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.depth import Depth
from fallback_mx.smtp.forwarded import Announce
from fallback_mx.smtp.login import Login
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.reach import Place, Source
from fallback_mx.smtp.route import NextHop, validating
from fallback_mx.smtp.steps import Step, Timeouts
from fallback_mx.smtp.tls_policy import Handshake, TlsPolicy, Trust, Untrusted


def _unheard(phase: str, said: str) -> None:
    """By its name it travels to other processes with the settings."""


@dataclass(frozen=True, slots=True)
class DialSettings:
    """`hello_name` is what we say in EHLO. A `tls_context` goes before what `trust` says, a `resolver` before the
    system's. `hear(phase, said)` is told of each step, where somebody wants to watch. With less `depth` than STARTTLS a
    line is opened only so far: it is for probes, and no mail may be sent on it."""

    hello_name: str
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    tls_context: ssl.SSLContext | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    trust: Trust = field(default_factory=Trust)
    login: Login | None = None
    source: Source = field(default_factory=Source)
    announce: Announce = Announce.NONE
    resolver: dns.asyncresolver.Resolver | None = None
    depth: Depth = Depth.STARTTLS
    hear: Callable[[str, str], None] = field(default=_unheard, compare=False)


Line = tuple[Pipeline, Greeting]
"""An open connection that is ready for MAIL, and what is known of the server at its other end."""


async def connect_first(hops: Sequence[NextHop], settings: DialSettings) -> Courier:
    """A courier to the first of these that answers. Raises NoConnection with what the last one said."""
    return Courier(*await open_first(hops, settings), settings.announce)


async def connect(hop: NextHop, settings: DialSettings) -> Courier:
    """A courier to this host. Raises NoConnection."""
    return await connect_first([hop], settings)


async def open_first(hops: Sequence[NextHop], settings: DialSettings) -> Line:
    """A line to the first of these that answers. Raises NoConnection with what the last one said."""
    failure: NoConnection | None = None
    for hop in hops:
        try:
            return await _open(hop, settings)
        except Loop as loop:
            # Where others come before us that is as it should be: they do not answer, and we are next.
            raise failure or loop from None
        except NoConnection as error:
            failure = error
    raise failure or NoConnection("route", "no next hop is configured")


async def _open(hop: NextHop, settings: DialSettings) -> Line:
    handshake = await _handshake(hop, settings)
    failure: NoConnection | None = None
    for place in await reach.places(hop, settings.source, settings.timeouts.connect):
        try:
            return await _line(place, hop, settings, handshake)
        except Loop:
            raise
        except NoConnection as error:
            settings.hear(error.phase, error.detail)
            # What a server said goes before what kept us from hearing another.
            failure = error if failure is None or not error.is_ours else failure
    raise failure or NoConnection("route", f"{hop.host} has no address")


async def _handshake(hop: NextHop, settings: DialSettings) -> Handshake | None:
    if settings.tls is not TlsPolicy.DANE:
        return tls_policy.handshake(settings.tls, settings.trust, settings.tls_context)
    if not hop.is_certain:
        raise dane.not_validated(f"the MX record that names {hop.host}")
    resolver = validating(settings.resolver or dns.asyncresolver.Resolver())
    return dane.handshake(hop.host, await dane.look_up(hop.host, hop.port, resolver))


async def _line(place: Place, hop: NextHop, settings: DialSettings, handshake: Handshake | None) -> Line:
    try:
        return await _session(place, hop, settings, handshake)
    except dane.AnchorFound as found:
        return await _session(place, hop, settings, found.handshake)
    except NoConnection as failure:
        if failure.phase != "starttls" or handshake is None or handshake.is_demanded:
            raise
        reason = failure.detail
        settings.hear("starttls", f"{reason}; going on in clear, on another connection")
    return await _session(place, hop, settings, None, tls_error=reason)


async def _session(
    place: Place, hop: NextHop, settings: DialSettings, handshake: Handshake | None, tls_error: str | None = None
) -> Line:
    connected = await reach.connect(place, settings.source, settings.timeouts.connect)
    settings.hear("connect", f"{hop.host} is {place.address} port {place.sockaddr[1]}")
    pipeline = await _connected(connected, settings)
    if not settings.depth.includes(Depth.EHLO):
        return pipeline, Greeting(hop.host, hello_name=settings.hello_name)
    try:
        known = await _greet(pipeline, settings)
        tls: str | None = None
        shown: tuple[bytes, ...] = ()
        if not settings.depth.includes(Depth.STARTTLS):
            handshake = None
        if handshake is not None and "starttls" in known[0].extensions:
            tls, shown = await _encrypt(pipeline, hop, settings, handshake)
            settings.hear("starttls", tls)
            # What was said in clear counts no more (RFC 3207, section 4.2).
            known = await _hello(pipeline, settings)
        elif handshake is not None and handshake.is_demanded:
            raise NoConnection("starttls", "the server does not offer STARTTLS")
        if settings.login is not None and settings.depth.includes(Depth.STARTTLS):
            is_private = tls is not None or place.is_loopback
            await login.log_in(pipeline, known[0], settings.login, is_private=is_private)
            settings.hear("auth", f"logged in as {settings.login.username}")
    except BaseException:
        pipeline.abort()
        raise
    offer, reply = known
    return pipeline, Greeting(hop.host, offer.extensions, tls, tls_error, offer, str(reply), settings.hello_name, shown)


class _Opening(asyncio.Protocol):
    """Hands the transport on to a pipeline, which waits for the greeting, before anything can come in."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.pipeline = Pipeline(cast(asyncio.Transport, transport), self._timeouts)
        self.greeting = self.pipeline.expect([Step.BANNER])


async def _connected(connected: socket.socket, settings: DialSettings) -> Pipeline:
    try:
        _, opening = await asyncio.get_running_loop().create_connection(
            lambda: _Opening(settings.timeouts), sock=connected
        )
    except BaseException:
        connected.close()
        raise
    if settings.depth is Depth.CONNECT:
        return opening.pipeline
    try:
        await opening.greeting.wait()
        greeting = opening.greeting.replies[0] if opening.greeting.replies else None
        banner = _good(opening.pipeline, greeting, "banner")
        settings.hear("banner", str(banner))
        _own_name(banner, settings)
    except BaseException:
        opening.pipeline.abort()
        raise
    return opening.pipeline


async def _greet(pipeline: Pipeline, settings: DialSettings) -> tuple[offered.Offered, Reply]:
    reply = await pipeline.converse(Step.EHLO, f"EHLO {settings.hello_name}\r\n".encode())
    if reply is not None and reply.is_refusal and pipeline.broken is None:
        # A server that does not know EHLO is greeted the old way (RFC 5321, section 3.2).
        reply = await pipeline.converse(Step.HELO, f"HELO {settings.hello_name}\r\n".encode())
    good = _good(pipeline, reply, "ehlo")
    settings.hear("ehlo", " | ".join(good.lines) or str(good))
    _own_name(good, settings)
    return offered.read(good), good


async def _hello(pipeline: Pipeline, settings: DialSettings) -> tuple[offered.Offered, Reply]:
    """EHLO, said once more under TLS."""
    reply = await pipeline.converse(Step.EHLO, f"EHLO {settings.hello_name}\r\n".encode())
    good = _good(pipeline, reply, "ehlo")
    settings.hear("ehlo", " | ".join(good.lines) or str(good))
    return offered.read(good), good


async def _encrypt(
    pipeline: Pipeline, hop: NextHop, settings: DialSettings, handshake: Handshake
) -> tuple[str, tuple[bytes, ...]]:
    """What the connection is encrypted with from now on, and the certificates that the server sent."""
    _good(pipeline, await pipeline.converse(Step.STARTTLS, b"STARTTLS\r\n"), "starttls")
    server_name = handshake.server_name or hop.host.rstrip(".")
    try:
        connection = await pipeline.encrypt(handshake.context, server_name, settings.timeouts.command)
        shown = certificates.chain(connection)
        handshake.judge(shown)
    except Untrusted as error:
        raise NoConnection("starttls", str(error)) from error
    except TimeoutError:
        raise NoConnection("starttls", "timeout in the handshake") from None
    except (OSError, ValueError) as error:
        raise NoConnection("starttls", " ".join(str(error).split()) or type(error).__name__) from error
    cipher, version, _ = connection.cipher() or ("", "TLS", 0)
    return f"{version} {cipher}", shown


def _good(pipeline: Pipeline, reply: Reply | None, phase: str) -> Reply:
    """The reply, where it lets us go on. Raises NoConnection."""
    if pipeline.broken is not None or reply is None:
        raise NoConnection(phase, str(pipeline.farewell or pipeline.broken)[:500])
    if not reply.is_success:
        raise NoConnection(phase, str(reply)[:500])
    return reply


def _own_name(reply: Reply, settings: DialSettings) -> None:
    """Raises Loop where the server calls itself by our own name."""
    first = reply.lines[0] if reply.lines else reply.text
    if offered.named_in(first) == settings.hello_name.rstrip(".").lower():
        raise Loop(
            f"it greets us with our own name, {settings.hello_name}: it is this service, and mail would come back. "
            "Write the primary's own host, or another server.hostname here"
        )
