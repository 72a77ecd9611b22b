"""What a server showed of itself in a TLS handshake: its certificates, and the public key, the dates and the names in
the first (RFC 5280).

OpenSSL has read a certificate before it gets here, so that its outer shape can be relied on; the places in it are found
by counting fields (section 4.1). A certificate that cannot be walked so far raises ValueError.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

SHA256_OCTETS = 32
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_ALTERNATIVE_NAMES = bytes.fromhex("0603551d11")  # 2.5.29.17


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
    return _field(certificate, 5)


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """From when until when it is valid (section 4.1.2.5). Raises ValueError."""
    begins, ends, *_ = (*_elements(_inside(_field(certificate, 3), 0)), b"", b"")
    return _moment(begins), _moment(ends)


def expires_at(certificate: bytes) -> datetime | None:
    """Until when a certificate is valid; None where that cannot be read."""
    try:
        return validity(certificate)[1]
    except ValueError:
        return None


def dns_names(certificate: bytes) -> tuple[str, ...]:
    """The names in its subjectAltName, in lower case (section 4.2.1.6), none without one. Raises ValueError."""
    for field in list(_fields(certificate))[6:]:
        if field[:1] != b"\xa3":
            continue
        for extension in _elements(_inside(_inside(field, 0), 0)):
            kind, *_, value = _elements(_inside(extension, 0))
            if kind == _ALTERNATIVE_NAMES:
                names = _elements(_inside(_inside(value, 0), 0))
                return tuple(_inside(each, 0).decode("ascii").lower() for each in names if each[:1] == b"\x82")
    return ()


def _field(certificate: bytes, number: int) -> bytes:
    """A field of the certificate's body, counted from 0."""
    found = next(islice(_fields(certificate), number, None), None)
    if found is None:
        raise ValueError("the certificate ends too early")
    return found


def _fields(certificate: bytes) -> Iterator[bytes]:
    """Serial number, signature, issuer, validity, subject, key, and what may follow."""
    for element in _elements(_inside(_inside(certificate, 0), 0)):
        if element[:1] != b"\xa0":  # the version, which may be missing
            yield element


def _elements(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        end = _end(data, position)
        yield data[position:end]
        position = end


def _moment(element: bytes) -> datetime:
    text = _inside(element, 0).decode("ascii")
    if element[0] == _UTC_TIME:
        # Years 50 to 99 are of the century before (section 4.1.2.5.1).
        text = ("19" if text[:2] >= "50" else "20") + text
    elif element[0] != _GENERALIZED_TIME:
        raise ValueError("a date of an unknown kind")
    if len(text) != 15 or not text[:14].isdigit() or text[14] != "Z":
        raise ValueError("a date that is none")
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in (4, 6, 8, 10, 12))
    return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)


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
