"""Who may know what: which primaries are shown to whom, and by what name."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from fallback_mx.settlement.month import Contract


@dataclass(frozen=True, slots=True)
class Listed:
    """A primary as it is shown: `title` stands for its name wherever that would give away its host.

    `contract` is None where its agreement cannot be read: no month is told of then.
    """

    name: str
    title: str
    customer: str = ""
    contract: Contract | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says of the pages. `customers` has each customer by the digest of a token of theirs."""

    is_public: bool = True
    shows_hosts: bool = False
    primaries: tuple[Listed, ...] = ()
    customers: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def customer_of(self, token: str) -> str | None:
        """Whose token it is. A look-up by digest takes as long for one that is nearly right as for any other."""
        return self.customers.get(digest(token))

    def listed(self, customer: str | None) -> tuple[Listed, ...]:
        """What this customer is shown; all of them for None, which is everybody."""
        return tuple(one for one in self.primaries if customer is None or one.customer == customer)


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def title(name: str, hosts: Collection[str], position: int, *, shows_hosts: bool) -> str:
    """What a primary is called. One that is named after its host is "primary 1" where hosts are not to be shown."""
    named = name.casefold()
    if not shows_hosts and any(host.casefold() in named for host in hosts):
        return f"primary {position}"
    return name
