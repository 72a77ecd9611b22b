"""DKIM (RFC 6376): whether a valid signature on a message speaks for a domain.

dkimpy verifies; names are asked for by our own resolver. What strangers can make long is measured before dkimpy has it,
which takes its time over it: with too many signatures a message has none; a field or a key that is too long is none.
Signatures by others are not even looked at, of those that remain only the first few are, and none of a part of the
content (`l=`), by a key that is being tested or not for SHA-256, or by an algorithm that is broken (RFC 8301).
"""

from __future__ import annotations

import logging
import re

import dkim

from fallback_mx.bounces.names import Names, Unanswered
from fallback_mx.rules.bouncing import is_aligned

MAX_SIGNATURES = 5
MAX_FIELDS = 20
MAX_FIELD_OCTETS = 4096
# An RSA key of 4,096 bits has 736; verifying by what fits in here takes a fraction of a second.
MAX_KEY_OCTETS = 1200
_ALGORITHMS = (b"rsa-sha256", b"ed25519-sha256")
# It logs each bad signature as an error. Strangers sign what they like: the verdict is all that is of interest.
_SILENT = logging.Logger("dkim", logging.CRITICAL + 1)
_TESTING = re.compile(rb"(?:^|;)\s*t\s*=[^;]*\by\b")


class _KeyLookup:
    """Finds a public key, for dkimpy. What it lets through of a testing key is nothing."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def __call__(self, name: bytes, timeout: float = 0) -> bytes | None:
        try:
            text = name.decode("ascii")
        except UnicodeDecodeError:
            return None
        for record in self._names.ask(text, "TXT"):
            key = b"".join(record.strings)
            if b"p=" in key:
                return key if _is_fit(key) else None
        return None


def _is_fit(key: bytes) -> bool:
    if len(key) > MAX_KEY_OCTETS or _TESTING.search(key):
        return False
    hashes = _tags(key).get(b"h")
    return hashes is None or b"sha256" in hashes.split(b":")


def _tags(text: bytes) -> dict[bytes, bytes]:
    """The tags of a signature or a key (RFC 6376, section 3.2), without white space. Of doubles, which are not allowed,
    the last."""
    bare = b"".join(text.split())
    pairs = (each.partition(b"=") for each in bare.split(b";"))
    return {name: value for name, _, value in pairs}


def valid_for(domain: str, message: bytes, names: Names) -> str | None:
    """The signing domain of a valid signature that speaks for this domain, None where there is none.

    Raises Unanswered where a name server kept it from being known.
    """
    lookup = _KeyLookup(names)
    trouble: Unanswered | None = None
    looked_at = 0
    try:
        verifier = dkim.DKIM(message, logger=_SILENT, minkey=1024)
    except dkim.DKIMException:
        return None
    fields = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"]
    if len(fields) > MAX_FIELDS:
        return None
    for index, field in enumerate(fields):
        signing = _signing_domain(field)
        if signing is None or not is_aligned(signing, domain):
            continue
        looked_at += 1
        if looked_at > MAX_SIGNATURES:
            break
        try:
            if verifier.verify(index, dnsfunc=lookup):
                return signing
        except Unanswered as error:
            trouble = error
        except Exception:  # noqa: S112  # whatever is wrong with a signature, it vouches for nothing
            continue
    if trouble is not None:
        raise trouble
    return None


def _signing_domain(field: bytes) -> str | None:
    """Whose signature it says it is; None for one that is not worth a look."""
    if len(field) > MAX_FIELD_OCTETS:
        return None
    tags = _tags(field)
    if tags.get(b"a") not in _ALGORITHMS or b"l" in tags:
        return None
    try:
        return tags.get(b"d", b"").decode("ascii")
    except UnicodeDecodeError:
        return None
