"""How much TLS a next hop must have, and when its certificate is believed (RFC 3207; RFC 7435).

  none           never
  opportunistic  where it is offered and works, without looking at the certificate; else in clear, on record
  require        always, without looking at the certificate
  verify         always, with a certificate of a trusted authority for the right name, or with a key that is pinned
  dane           as the host's TLSA records say: see fallback_mx.smtp.dane

A server that is not what it should be raises Untrusted before it hears a word of any message.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.certificates import Pin


class TlsPolicy(StrEnum):
    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRE = "require"
    VERIFY = "verify"
    DANE = "dane"

    @property
    def is_demanding(self) -> bool:
        """Whether nothing is sent in clear."""
        return self not in (TlsPolicy.NONE, TlsPolicy.OPPORTUNISTIC)


class Untrusted(Exception):
    """The server's certificate is not what the policy asks for. The text says what was found, and what to do."""


Judge = Callable[[Sequence[bytes]], None]
"""Looks at the certificates that a server sent, its own first. Raises Untrusted."""


def anybody(chain: Sequence[bytes]) -> None:
    """Whoever it is will do."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """How to begin TLS with one server. Without a `server_name` the name of the host is asked for."""

    context: ssl.SSLContext
    server_name: str = ""
    judge: Judge = anybody
    is_demanded: bool = True


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom `verify` believes: the authorities in `ca_file` (the system's where it is None) for `name` (the host's where
    it is empty), or, where there are `pins`, whoever has one of those keys."""

    ca_file: Path | None = None
    name: str = ""
    pins: tuple[Pin, ...] = ()


def handshake(policy: TlsPolicy, trust: Trust, context: ssl.SSLContext | None = None) -> Handshake | None:
    """What this policy wants, None for no TLS; not for `dane`, which depends on the host. A `context` goes before the
    one that would be made. Raises NoConnection where `ca_file` cannot be read."""
    if policy is TlsPolicy.NONE:
        return None
    if policy is not TlsPolicy.VERIFY:
        return Handshake(context or unverified(), is_demanded=policy.is_demanding)
    if trust.pins:
        return Handshake(context or unverified(), trust.name, functools.partial(_judge_pins, trust.pins))
    return Handshake(context or _verifying_by(trust.ca_file), trust.name)


def _judge_pins(pins: Sequence[Pin], chain: Sequence[bytes]) -> None:
    found = Pin.of(chain[0])
    if found not in pins:
        raise Untrusted(f"its key is not among tls_pins: it is {found}")


@functools.cache
def unverified() -> ssl.SSLContext:
    """Takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _verifying_by(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return _verifying(None, 0)
    try:
        # A file that has been renewed is read again.
        return _verifying(ca_file, ca_file.stat().st_mtime_ns)
    except OSError as error:  # ssl.SSLError is one
        is_read = isinstance(error, ssl.SSLError)
        reason = "it holds no PEM certificates" if is_read else str(error.strerror).lower()
        raise NoConnection("ours", f"tls_ca_file {ca_file}: {reason}") from None


@functools.lru_cache(maxsize=32)
def _verifying(ca_file: Path | None, changed_at: int) -> ssl.SSLContext:
    """Made once: reading the system's certificates takes longer than a connection does."""
    context = ssl.create_default_context(cafile=ca_file)
    # A name is one that the certificate is for (RFC 6125, section 6.4.4), whatever its owner is called.
    context.hostname_checks_common_name = False
    return context
