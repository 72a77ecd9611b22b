"""Whether, and where, the sender of mail that is given up is told of it.

A report to a forged reverse-path harms a stranger. So one is sent only where the domain of the reverse-path vouches for
the message: by SPF (RFC 7208) for the client that brought it, or by a DKIM signature (RFC 6376) of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mxqueue.model import Enclosed, Outcome

REPORTS = "reports"
"""The route of reports to senders elsewhere. No primary may be called so."""

NULL_REASON = "none goes to the null reverse-path"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the sender's domain vouches for a message, and what says so, in words for the ledger."""

    is_vouched: bool
    why: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What becomes of recipients, by position, and the report that tells the sender of them."""

    outcomes: Mapping[int, Outcome]
    report: Enclosed | None = None


def domain_of(reverse_path: str) -> str:
    return reverse_path.rpartition("@")[2].lower()


def is_aligned(signing: str, domain: str) -> bool:
    """Whether a signature by `signing` speaks for mail from `domain`.

    Its own does, and that of a domain it lies in: example.org may sign for news.example.org, which it has given away
    itself. One that lies in it, or beside it, does not: nobody here knows where registries end and their customers
    begin, and one customer must not vouch for another.
    """
    signing, domain = signing.lower().rstrip("."), domain.lower().rstrip(".")
    if not signing or not domain:
        return False
    return signing == domain or ("." in signing and domain.endswith(f".{signing}"))
