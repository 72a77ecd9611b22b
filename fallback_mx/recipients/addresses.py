"""Addresses in the forms in which they are compared.

Domains fold to lower case A-labels. Local parts are the final host's own affair (RFC 5321, section 2.4), and lessons
are kept for the address exactly as the primary was asked. A list is another matter: people and directories write it in
whatever case, hardly any server tells mailboxes apart by it, and an address refused over a capital is mail lost for
good. So lists compare without case, and a listed address stands for its subaddresses (`user+detail`, RFC 5233) too.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from fallback_mx.domains import normalised

SEPARATOR = "+"
POSTMASTER = "postmaster"
# RFC 5321, section 4.5.3.1.3, without the angle brackets; its 64 octets for a local part are exceeded in practice.
MAX_OCTETS = 254

_PLAIN = re.compile(r"[a-zA-Z0-9_-]+(?:[.+][a-zA-Z0-9_-]+)*")
_DOT_ATOM = r"[^\s\x00-\x1f\x7f()<>\[\]:;@\\,\".]+(?:\.[^\s\x00-\x1f\x7f()<>\[\]:;@\\,\".]+)*"
_LOCAL = re.compile(rf'{_DOT_ATOM}|"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"')


class NoAddress(ValueError):
    """The text is no mail address; why it is none."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox. `local` is as it was written, but for quotes that it does not need; `domain` is folded."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def is_postmaster(self) -> bool:
        """RFC 5321, section 4.5.1: known everywhere, in any case of letters."""
        return self.local.lower() == POSTMASTER

    @property
    def listed(self) -> str:
        """The local part as lists have it."""
        return folded(self.local)

    @property
    def listed_forms(self) -> tuple[str, ...]:
        """The local parts any of which, when listed, means this address."""
        whole = folded(self.local)
        base = whole.partition(SEPARATOR)[0]
        return (whole, base) if base and base != whole else (whole,)


def folded(local: str) -> str:
    return local.lower() if local.isascii() else unicodedata.normalize("NFC", local).casefold()


def parse(text: str) -> Address:
    """`local@domain`. Raises NoAddress."""
    local, at, domain = text.rpartition("@")
    if not at:
        raise NoAddress("there is no @ in it")
    if len(text.encode("utf-8", "surrogateescape")) > MAX_OCTETS:
        raise NoAddress(f"it is longer than {MAX_OCTETS} octets")
    if _PLAIN.fullmatch(local):
        return Address(local, parse_domain(domain))  # as nearly all are
    if not _LOCAL.fullmatch(local):
        raise NoAddress("what stands before the @ is no local part")
    return Address(_unquoted(local), parse_domain(domain))


@lru_cache(maxsize=1024)
def parse_domain(text: str) -> str:
    """The domain as A-labels. Raises NoAddress."""
    try:
        return normalised(text)
    except ValueError as error:
        raise NoAddress(f"its domain cannot be: {error}") from None


def _unquoted(local: str) -> str:
    """Without quotes that mean nothing (RFC 5321, section 4.1.2): "bob" is bob."""
    if not local.startswith('"'):
        return local
    bare = re.sub(r"\\(.)", r"\1", local[1:-1])
    return bare if re.fullmatch(_DOT_ATOM, bare) else local
