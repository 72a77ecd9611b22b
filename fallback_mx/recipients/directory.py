"""A list from an LDAP directory (RFC 4511), page by page (RFC 2696). Imported only where one is configured.

It needs ldap3, which the extra `ldap` brings. With `ldaps://` the directory's certificate must be valid; with
`ldap://` everything goes in clear, the password too.
"""

from __future__ import annotations

import re
import ssl
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fallback_mx.recipients.sources import SILENCE_SECONDS, Copy, SourceFailed

try:
    import ldap3
    from ldap3.core.exceptions import LDAPException
except ImportError:
    raise SourceFailed("ldap3 is not installed", "Install it: pip install 'fallback-mx[ldap]'.") from None

PAGE = 1000
# Directories that serve several protocols mark the kind of an address (Microsoft's proxyAddresses).
_KIND = re.compile(rb"(?i)([a-z0-9.]+):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """Every value of `attribute` in the entries below `base` that `filter` finds is an address."""

    url: str
    base: str
    filter: str
    attribute: str
    user: str = ""
    password_file: Path | None = None

    @property
    def origin(self) -> str:
        parts = urllib.parse.urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{self.base}"

    def copy(self, into: Copy) -> None:
        try:
            with self._connection() as connection:
                for value in self._values(connection):
                    into.write(value + b"\n")
                    into.look()
        except (LDAPException, OSError) as error:
            raise SourceFailed(f"{self.origin}: {_words(error)}", "Try the same search with ldapsearch.") from None

    def _connection(self) -> ldap3.Connection:
        server = ldap3.Server(
            self.url, connect_timeout=SILENCE_SECONDS, get_info=ldap3.NONE, tls=ldap3.Tls(validate=ssl.CERT_REQUIRED)
        )
        return ldap3.Connection(
            server,
            user=self.user or None,
            password=self._password(),
            authentication=ldap3.SIMPLE if self.user else ldap3.ANONYMOUS,
            read_only=True,
            auto_referrals=False,
            receive_timeout=int(SILENCE_SECONDS),
            raise_exceptions=True,
        )

    def _password(self) -> str | None:
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise SourceFailed(
                f"{self.password_file}: {reason}", "Write the password into it, readable for the service's user."
            ) from None

    def _values(self, connection: ldap3.Connection) -> Iterator[bytes]:
        found = connection.extend.standard.paged_search(
            self.base, self.filter, ldap3.SUBTREE, attributes=[self.attribute], paged_size=PAGE, generator=True
        )
        for entry in found:
            for name, values in entry.get("raw_attributes", {}).items():
                if name.lower() == self.attribute.lower():
                    yield from filter(None, map(_address, values))


def _address(value: bytes) -> bytes:
    """The mail address in a value, empty where it is one of another kind."""
    marked = _KIND.fullmatch(value)
    if marked is None:
        return value.strip()
    return marked[2].strip() if marked[1].lower() == b"smtp" else b""


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
