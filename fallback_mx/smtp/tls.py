"""The server's TLS context. Clients' contexts are made where connections are (`smtp.dial`)."""

from __future__ import annotations

import ssl
from pathlib import Path


class BadCertificate(Exception):
    """The certificate or its key cannot be used. `advice` tells the operator what to do."""

    advice = "Write a PEM certificate chain and its unencrypted private key, readable by the service's user."


def server_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What STARTTLS is offered with, None where no certificate is configured. Raises BadCertificate."""
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadCertificate(f"server.tls_certificate {certificate}: {reason}") from None
    return context


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal, and the service would wait for an answer.
    raise ValueError("the private key is encrypted")
