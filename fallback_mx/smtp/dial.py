"""From a next hop to a line: connection, banner, EHLO, STARTTLS (RFC 5321, section 3.1; RFC 3207).

aiosmtplib speaks here, one command at a time; then its transport is handed to a pipeline. Every failure is NoConnection
with the phase it got to: it says something about the server, and nothing about any message.

With the policy `opportunistic` a server whose TLS does not work is spoken to in clear, on a connection of its own, and
`Greeting.tls_error` says so. `require` and `verify` never speak in clear.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar, cast

import aiosmtplib

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.courier import Courier, Greeting
from fallback_mx.smtp.pipeline import Pipeline, Timeouts
from fallback_mx.smtp.replies import printable
from fallback_mx.smtp.route import NextHop

T = TypeVar("T")


class TlsPolicy(StrEnum):
    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRE = "require"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class DialSettings:
    """`hello_name` is what we say in EHLO. Without a `tls_context`, `verify` trusts the system's authorities."""

    hello_name: str
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    tls_context: ssl.SSLContext | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)

    def context(self) -> ssl.SSLContext:
        return self.tls_context or _default_context(is_verifying=self.tls is TlsPolicy.VERIFY)


@functools.cache
def _default_context(*, is_verifying: bool) -> ssl.SSLContext:
    """Made once: reading the system's certificates takes longer than a connection does."""
    if is_verifying:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


Line = tuple[Pipeline, Greeting]
"""An open connection that is ready for MAIL, and what is known of the server at its other end."""


async def connect_first(hops: Sequence[NextHop], settings: DialSettings) -> Courier:
    """A courier to the first of these that answers. Raises NoConnection with what the last one said."""
    return Courier(*await open_first(hops, settings))


async def connect(hop: NextHop, settings: DialSettings) -> Courier:
    """A courier to this host. Raises NoConnection."""
    return Courier(*await _open(hop, settings))


async def open_first(hops: Sequence[NextHop], settings: DialSettings) -> Line:
    """A line to the first of these that answers. Raises NoConnection with what the last one said."""
    failure = NoConnection("route", "no next hop is configured")
    for hop in hops:
        try:
            return await _open(hop, settings)
        except NoConnection as error:
            failure = error
    raise failure


async def _open(hop: NextHop, settings: DialSettings) -> Line:
    if settings.tls is TlsPolicy.NONE:
        return await _session(hop, settings, encrypt=False)
    try:
        return await _session(hop, settings, encrypt=True)
    except NoConnection as failure:
        if failure.phase != "starttls" or settings.tls is not TlsPolicy.OPPORTUNISTIC:
            raise
        reason = failure.detail
    return await _session(hop, settings, encrypt=False, tls_error=reason)


async def _session(hop: NextHop, settings: DialSettings, *, encrypt: bool, tls_error: str | None = None) -> Line:
    connected = await _open_socket(hop, settings.timeouts.connect)
    smtp = aiosmtplib.SMTP(
        hostname=hop.host.rstrip("."),
        sock=connected,
        local_hostname=settings.hello_name,
        start_tls=False,
        timeout=settings.timeouts.command,
    )
    try:
        await _phase("banner", smtp.connect(timeout=settings.timeouts.banner))
        await _phase("ehlo", _hello(smtp))
        tls = await _phase("starttls", _encrypt(smtp, settings)) if encrypt else None
        transport = smtp.transport
        if transport is None:
            raise NoConnection("ehlo", "the server closed the connection")
    except BaseException:
        smtp.close()
        raise
    greeting = Greeting(hop.host, frozenset(smtp.esmtp_extensions), tls, tls_error)
    return Pipeline(cast(asyncio.Transport, transport), settings.timeouts), greeting


async def _open_socket(hop: NextHop, timeout: float) -> socket.socket:
    """A connected socket to the first address that answers, each given its time."""
    loop = asyncio.get_running_loop()
    failure = "it has no address"
    try:
        found = [
            each
            for name in hop.addresses or (hop.host,)
            for each in await loop.getaddrinfo(name, hop.port, type=socket.SOCK_STREAM)
        ]
    except (OSError, UnicodeError) as error:
        raise NoConnection("route", f"{hop.host}: {getattr(error, 'strerror', None) or error}") from error
    for family, kind, protocol, _, address in found:
        candidate = socket.socket(family, kind, protocol)
        try:
            candidate.setblocking(False)
            async with asyncio.timeout(timeout):
                await loop.sock_connect(candidate, address)
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError:
            candidate.close()
            failure = f"timeout after {timeout:g} s"
        except OSError as error:
            candidate.close()
            failure = os.strerror(error.errno) if error.errno else str(error)
        except BaseException:
            candidate.close()
            raise
        else:
            return candidate
    raise NoConnection("connect", f"{hop.host} port {hop.port}: {failure}")


async def _hello(smtp: aiosmtplib.SMTP) -> None:
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        # A server that does not know EHLO is greeted the old way (RFC 5321, section 3.2).
        if error.code == 421 or error.code < 500:
            raise
        await smtp.helo()


async def _encrypt(smtp: aiosmtplib.SMTP, settings: DialSettings) -> str | None:
    """What the connection is encrypted with, None where TLS is neither offered nor demanded."""
    if not smtp.supports_extension("starttls"):
        if settings.tls is TlsPolicy.OPPORTUNISTIC:
            return None
        raise NoConnection("starttls", "the server does not offer STARTTLS")
    await smtp.starttls(tls_context=settings.context())
    # What was said in clear counts no more (RFC 3207, section 4.2).
    await smtp.ehlo()
    cipher, version, _ = smtp.get_transport_info("cipher")
    return f"{version} {cipher}"


async def _phase(name: str, step: Awaitable[T]) -> T:
    try:
        return await step
    except aiosmtplib.SMTPResponseException as error:
        said = f"{error.code} {error.message}" if error.code >= 0 else error.message
        raise NoConnection(name, _safe(said)) from error
    except TimeoutError as error:
        raise NoConnection(name, "timeout") from error
    except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPConnectError) as error:
        raise NoConnection(name, "the server closed the connection") from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise NoConnection(name, _safe(str(error) or type(error).__name__)) from error


def _safe(text: str) -> str:
    return printable(" ".join(text.split()).encode("utf-8", "surrogateescape"))[:500]
