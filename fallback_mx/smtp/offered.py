"""What a server says that it is and can do, in its answer to EHLO (RFC 5321, section 4.1.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp.certificates import expires_at


@dataclass(frozen=True, slots=True)
class Offered:
    """`name` is what the server calls itself, `parameters` what stands behind each keyword, in lower case."""

    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def extensions(self) -> frozenset[str]:
        return frozenset(self.parameters)

    def words(self, keyword: str) -> frozenset[str]:
        """The parameters of one keyword, in capitals; none where it is not offered."""
        return frozenset(self.parameters.get(keyword, "").upper().split())

    @property
    def mechanisms(self) -> frozenset[str]:
        """The ways to log in (RFC 4954). Some old servers write the first behind an equals sign."""
        written = [key.partition("=")[2] for key in self.parameters if key.startswith("auth=")]
        return self.words("auth") | frozenset(mechanism.upper() for mechanism in written)

    @property
    def size_limit(self) -> int | None:
        """The largest message that it takes; None where it names no fixed limit (RFC 1870, section 4)."""
        value = self.parameters.get("size", "")
        return (int(value) or None) if value.isascii() and value.isdigit() and len(value) <= 20 else None


@dataclass(frozen=True, slots=True)
class Greeting:
    """What is known of the server at the other end of a line: `extensions` are EHLO keywords in lower case, `tls_error`
    why we are in clear, `said` its last answer to EHLO, `hello_name` what we said there, `certificates` what it showed
    in the handshake, its own first, in DER."""

    host: str
    extensions: frozenset[str] = frozenset()
    tls: str | None = None
    tls_error: str | None = None
    offered: Offered = field(default_factory=Offered)
    said: str = ""
    hello_name: str = ""
    certificates: tuple[bytes, ...] = ()

    @property
    def certificate_expires_at(self) -> datetime | None:
        """Until when the certificate is valid that it showed; None where it showed none, or that cannot be read."""
        return expires_at(self.certificates[0]) if self.certificates else None


def read(reply: Reply) -> Offered:
    """What a 250 to EHLO or HELO says."""
    first, *rest = reply.lines or (reply.text,)
    parameters = {}
    for line in rest:
        keyword, _, value = line.partition(" ")
        if keyword:
            parameters[keyword.lower()] = value.strip()
    return Offered(named_in(first), parameters)


def named_in(text: str) -> str:
    """The name that a greeting, or the answer to EHLO or HELO, begins with; "" where there is none."""
    return text.partition(" ")[0].rstrip(".").lower()
