"""Where mail that was found goes: to the primary of each recipient's domain, as one message for each primary.

A recipient of a domain that is not configured is refused, whatever the file says: mail is never taken in that would
have to be sent to strangers, reports that were exported from here among it. So is one that the primary might follow
somewhere else (see smtp/paths.py). A file may have been written by anybody: which client brought the message is told in
the ledger, and vouches for nobody (SPF asks about the client that a message has in the queue).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from fallback_mx.rescue.found import Addressee, Found
from fallback_mx.visible import visible
from mxqueue import Envelope, Origin


@dataclass(frozen=True, slots=True)
class Refused:
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sorted:
    """`origin` knows who is held; `envelopes` is empty where everybody was refused."""

    envelopes: tuple[Envelope, ...]
    origin: Origin
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class Routes:
    """`primaries` by domain, in the form of fallback_mx.domains; those that take routing characters."""

    primaries: Mapping[str, str]
    lenient: Set[str] = frozenset()

    def of(self, addressee: Addressee) -> str | Refused:
        """The primary, or why there is none."""
        primary = self.primaries.get(addressee.path.domain)
        if primary is None:
            return Refused(addressee.address, "its domain is that of no primary")
        if addressee.path.could_be_followed and primary not in self.lenient:
            return Refused(addressee.address, "there are routing characters in it")
        return primary


def sort(found: Found, routes: Routes) -> Sorted:
    """What becomes of one message."""
    by_primary: dict[str, list[Addressee]] = {}
    refused = []
    for addressee in found.addressees:
        route = routes.of(addressee)
        if isinstance(route, Refused):
            refused.append(route)
        else:
            by_primary.setdefault(route, []).append(addressee)
    taken = [each for addressees in by_primary.values() for each in addressees]
    held = frozenset(each.address for each in taken if each.is_held)
    envelopes = tuple(_envelope(found, primary, addressees) for primary, addressees in by_primary.items())
    return Sorted(envelopes, replace(_with_client(found), held=held), tuple(refused))


def _with_client(found: Found) -> Origin:
    client = visible(f"{found.client_address[:100]} {found.helo[:255]}".strip())
    return replace(found.origin, name=f"{found.origin.name}, from {client}") if client else found.origin


def _envelope(found: Found, primary: str, addressees: list[Addressee]) -> Envelope:
    asked = tuple(each.asked for each in addressees)
    return Envelope(
        reverse_path=found.reverse_path,
        forward_paths=tuple(each.address for each in addressees),
        route=primary,
        trace=found.trace,
        body=found.body,
        smtputf8=found.smtputf8,
        ret=found.ret,
        envid=found.envid,
        report_requests=asked if any(each.notify or each.orcpt for each in asked) else (),
    )
