"""Is our certificate good for a while yet, and for our name?

Senders seldom look at it (RFC 7435); those that do, by MTA-STS, must find our name, a time that has not run out and an
authority that they know. The file counts where the listener could not be asked.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.smtp import certificates
from fallback_mx.smtp.ourselves import plain

CHECK = "certificate"
SOON = timedelta(days=21)
RENEW = "Renew it, and systemctl reload fallback-mx."


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """`shown` is what the listener shows, `filed` what stands in the file, in DER, None where there is none; `trouble`
    is why the file could not be read. `untrusted` as in ListenerFacts."""

    hostname: str
    now: datetime
    is_configured: bool = False
    shown: bytes | None = None
    filed: bytes | None = None
    trouble: str = ""
    untrusted: str | None = None


def read(path: Path | None) -> tuple[tuple[bytes, ...], str]:
    """The certificates in a PEM file, its own first, in DER, or why there are none."""
    if path is None:
        return (), ""
    try:
        text = path.read_text(encoding="ascii")
        blocks = text.split(ssl.PEM_HEADER)[1:]
        found = tuple(
            ssl.PEM_cert_to_DER_cert(ssl.PEM_HEADER + block.partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER)
            for block in blocks
        )
    except OSError as failure:
        return (), f"{path}: {failure.strerror}"
    except ValueError:
        return (), f"{path}: it is no PEM file"
    return found, "" if found else f"{path}: it holds no certificate"


def judge(facts: CertificateFacts) -> list[Finding]:
    us = plain(facts.hostname)
    certificate = facts.shown or facts.filed
    if not facts.is_configured and certificate is None:
        fix = "Write server.tls_certificate and server.tls_key."
        return [warning(CHECK, us, "no certificate is configured: STARTTLS is not offered", fix)]
    found = list(_of_file(facts, us))
    if certificate is None:
        return found or [error(CHECK, us, "no certificate could be looked at", "See to the listener first.")]
    try:
        begins, ends = certificates.validity(certificate)
        names = certificates.dns_names(certificate)
    except ValueError as reason:
        return [*found, error(CHECK, us, f"the certificate cannot be read: {reason}", RENEW)]
    found += [*_of_dates(begins, ends, facts.now, us), *_of_names(names, us)]
    trust = "" if facts.untrusted is None else _of_trust(facts.untrusted)
    return found or [ok(CHECK, us, f"good until {ends:%Y-%m-%d}, for {', '.join(names)}{trust}")]


def _of_file(facts: CertificateFacts, us: str) -> Iterator[Finding]:
    if facts.trouble:
        fix = "Write the path of a PEM file that the service's user may read, or run this as that user."
        yield (warning if facts.shown else error)(CHECK, us, f"its file cannot be read: {facts.trouble}", fix)
    if facts.shown is not None and facts.filed is not None and facts.shown != facts.filed:
        reason = "the service still shows another certificate than the one in the file"
        yield warning(CHECK, us, reason, "systemctl reload fallback-mx")


def _of_dates(begins: datetime, ends: datetime, now: datetime, us: str) -> Iterator[Finding]:
    if now >= ends:
        yield error(CHECK, us, f"the certificate ended on {ends:%Y-%m-%d}", RENEW)
    elif now < begins:
        yield error(
            CHECK, us, f"the certificate begins on {begins:%Y-%m-%d} only", "Look at the clock of this machine."
        )
    elif ends - now < SOON:
        reason = f"the certificate ends in {(ends - now).days} days, on {ends:%Y-%m-%d}"
        yield warning(CHECK, us, reason, f"{RENEW} What should have renewed it by itself has not.")


def _of_names(names: tuple[str, ...], us: str) -> Iterator[Finding]:
    if not is_for(names, us):
        listed = ", ".join(names) or "no name"
        yield warning(CHECK, us, f"the certificate is for {listed}, not for {us}", f"Have one issued for {us}.")


def _of_trust(untrusted: str) -> str:
    if not untrusted:
        return ", of an authority that this machine knows"
    return f"; this machine does not believe it ({untrusted}), which few senders mind"


def is_for(names: tuple[str, ...], host: str) -> bool:
    """Whether a certificate with these names is for this host (RFC 6125, section 6.4)."""
    parent = host.partition(".")[2]
    return host in names or (parent != "" and f"*.{parent}" in names)
