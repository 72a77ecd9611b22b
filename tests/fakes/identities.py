"""Certificates for servers in tests, and what can be said of them."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import trustme

from fallback_mx.smtp.certificates import Pin, public_key

AUTHORITY = trustme.CA()
INTERMEDIATE = AUTHORITY.create_child_ca()
LONG_AGO = datetime(2019, 1, 1, tzinfo=UTC)
LATER_BUT_OVER = datetime(2020, 1, 1, tzinfo=UTC)


class Identity:
    """A certificate of the intermediate authority for these names, and the server that shows it."""

    def __init__(self, *names: str, expired: bool = False, issuer: trustme.CA = INTERMEDIATE) -> None:
        dates = {"not_before": LONG_AGO, "not_after": LATER_BUT_OVER} if expired else {}
        issued = issuer.issue_cert(*names, **dates)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(self.context)
        self.key_and_chain = issued.private_key_and_cert_chain_pem.bytes()
        self.chain = [ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in issued.cert_chain_pems]

    @staticmethod
    def stranger() -> trustme.CA:
        """An authority that nobody knows."""
        return trustme.CA()

    @property
    def certificate(self) -> bytes:
        return self.chain[0]

    @property
    def pin(self) -> Pin:
        return Pin.of(self.certificate)


def tlsa(usage: int, selector: int, matching: int, certificate: bytes) -> str:
    """A TLSA record as it stands in a zone."""
    selected = public_key(certificate) if selector else certificate
    digest = {0: lambda data: data, 1: _sha256, 2: _sha512}[matching](selected)
    return f"{usage} {selector} {matching} {digest.hex()}"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def write_authority(directory: Path, authority: trustme.CA = AUTHORITY) -> Path:
    """The authority's certificate as a PEM file."""
    path = directory / "authority.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return path
