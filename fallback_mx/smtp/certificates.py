"""What a server showed of itself in a TLS handshake: its certificates, and the public key in the first (RFC 5280).

OpenSSL has read a certificate before it gets here, so that its outer shape can be relied on; the key's place in it is
found by counting fields (section 4.1). A certificate that cannot be walked so far raises ValueError.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from dataclasses import dataclass
from typing import Any

SHA256_OCTETS = 32


@dataclass(frozen=True, slots=True)
class Pin:
    """The SHA-256 of a public key, as SubjectPublicKeyInfo (RFC 7469, section 2.4, has the same)."""

    sha256: bytes

    @classmethod
    def parse(cls, text: str) -> Pin:
        """Read "sha256/…" with base64 behind the slash. Raises ValueError."""
        kind, slash, coded = text.partition("/")
        if kind != "sha256" or not slash:
            raise ValueError("it does not begin with sha256/")
        try:
            digest = base64.b64decode(coded, validate=True)
        except binascii.Error:
            raise ValueError("what follows the slash is not base64") from None
        if len(digest) != SHA256_OCTETS:
            raise ValueError(f"it holds {len(digest)} octets, and a SHA-256 has {SHA256_OCTETS}")
        return cls(digest)

    @classmethod
    def of(cls, certificate: bytes) -> Pin:
        """The pin of the key in this certificate."""
        return cls(hashlib.sha256(public_key(certificate)).digest())

    def __str__(self) -> str:
        return f"sha256/{base64.b64encode(self.sha256).decode()}"


def chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the server sent, its own first, in DER. None of them has been verified."""
    inner: Any = connection
    if not hasattr(inner, "get_unverified_chain"):
        # Public from Python 3.13 on; before that the wrapped object has it.
        inner = inner._sslobj
    sent = inner.get_unverified_chain() or ()
    return tuple(
        each if isinstance(each, bytes) else ssl.PEM_cert_to_DER_cert(each.public_bytes())  # as Python 3.13, and before
        for each in sent
    )


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, in DER (RFC 5280, section 4.1). Raises ValueError."""
    body = _inside(_inside(certificate, 0), 0)
    position = 0
    if body[:1] == b"\xa0":  # the version, which may be missing
        position = _end(body, position)
    for _ in ("serial number", "signature", "issuer", "validity", "subject"):
        position = _end(body, position)
    return body[position : _end(body, position)]


def _header(data: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the element at this place begin and end."""
    if at + 2 > len(data):
        raise ValueError("the certificate ends too early")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    if start + length > len(data):
        raise ValueError("the certificate ends too early")
    return start, start + length


def _inside(data: bytes, at: int) -> bytes:
    start, end = _header(data, at)
    return data[start:end]


def _end(data: bytes, at: int) -> int:
    return _header(data, at)[1]
