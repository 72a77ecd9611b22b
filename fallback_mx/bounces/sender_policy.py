"""SPF (RFC 7208): whether a domain lets a client send mail with its reverse-path.

pyspf reads the policy; names are asked for by our own resolver. It is the client that brought the message to us whose
address counts, as it was recorded then.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import spf

from fallback_mx.bounces.names import Names, Unanswered

UNKNOWN_HELO = "unknown"
# A policy has a few hundred octets. Reading one takes as long as it is.
MAX_TEXT_OCTETS = 2048


class _Query(spf.query):  # type: ignore[misc]  # pyspf ships no types
    """A check whose names are looked up elsewhere. What it counts is what RFC 7208 (section 4.6.4) wants counted."""

    def __init__(self, names: Names, client_address: str, reverse_path: str, helo: str) -> None:
        self._names = names
        self._known: dict[tuple[str, str], list[Any]] = {}
        super().__init__(client_address, reverse_path, helo, strict=True)

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> Sequence[Any]:
        key = (str(name).rstrip(".").lower(), qtype)
        if not all(0 < len(label) < 64 for label in key[0].split(".")):
            return []
        if key not in self._known:
            try:
                found = self._names.ask(*key)
            except Unanswered as error:
                raise spf.TempError(str(error)) from error
            if qtype == "TXT" and any(sum(map(len, record.strings)) > MAX_TEXT_OCTETS for record in found):
                raise spf.PermError(f"a text of {key[0]} is too long")
            self._known[key] = [_value(record, qtype) for record in found]
        if not self._known[key] and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} names that do not exist")
        return self._known[key]


def _value(record: Any, kind: str) -> Any:
    """A record as pyspf takes it."""
    match kind:
        case "A" | "AAAA":
            return record.address
        case "MX":
            return record.preference, record.exchange.to_text(omit_final_dot=True)
        case "PTR":
            return record.target.to_text(omit_final_dot=True)
        case _:
            return record.strings


def check(names: Names, client_address: str, reverse_path: str, helo: str) -> str:
    """The result, in the words of RFC 7208 (section 2.6): pass, fail, softfail, neutral, none, temperror, permerror."""
    try:
        ipaddress.ip_address(client_address)
    except ValueError:
        return "none"
    try:
        query = _Query(names, client_address, reverse_path, helo or UNKNOWN_HELO)
        result, _, _ = query.check()
    except Exception:
        # A policy can be wrong in ways that nobody foresaw, pyspf included: it vouches for nobody.
        return "permerror"
    return str(result)
