"""DKIM (RFC 6376): whether a valid signature on a message speaks for a domain.

dkimpy verifies; names are asked for by our own resolver. Signatures by others are not even looked at, of those that
remain only the first few are, and none by a key that is being tested or an algorithm that is broken (RFC 8301).
"""

from __future__ import annotations

import logging
import re

import dkim

from fallback_mx.bounces.names import Names, Unanswered
from fallback_mx.rules.bouncing import is_aligned

MAX_SIGNATURES = 5
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
                return None if _TESTING.search(key) else key
        return None


def valid_for(domain: str, message: bytes, names: Names) -> str | None:
    """The signing domain of a valid signature that speaks for this domain, None where there is none.

    Raises Unanswered where a name server kept it from being known.
    """
    lookup = _KeyLookup(names)
    trouble: Unanswered | None = None
    looked_at = 0
    try:
        verifier = dkim.DKIM(message, logger=_SILENT, minkey=1024)
        count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
    except dkim.DKIMException:
        return None
    for index in range(count):
        signing = _signing_domain(verifier, index)
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


def _signing_domain(verifier: dkim.DKIM, index: int) -> str | None:
    """Whose signature it says it is; None for one that is not worth a look."""
    try:
        prepared = verifier.verify_headerprep(index)
        fields = prepared[0]
        return fields[b"d"].decode("ascii") if fields[b"a"] in _ALGORITHMS else None
    except Exception:
        return None
