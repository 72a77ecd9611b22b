"""The Received line we add (RFC 5321, section 4.4), and how many may be there already (section 6.3)."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from email.utils import format_datetime
from functools import lru_cache

MAX_HOPS = 50
MAX_OCTETS = 700  # of the line that we add
_UNSAFE = re.compile(r"[^A-Za-z0-9._:\[\]-]")


def address_literal(client_address: str) -> str:
    """An IP address in the brackets of RFC 5321, section 4.1.3."""
    return f"[IPv6:{client_address}]" if ":" in client_address else f"[{client_address}]"


@lru_cache(maxsize=4)
def _date(seconds: int, zone: tzinfo | None) -> str:
    # Thousands of messages share a second, and formatting it is a good part of making the line.
    return format_datetime(datetime.fromtimestamp(seconds, zone))


def received(*, helo: str, client_address: str, hostname: str, protocol: str, queue_id: str, at: datetime) -> bytes:
    """The Received line of one message, CRLF included, folded to stay under 78 octets where it can.

    `protocol` is a name of RFC 3848 (SMTP, ESMTP, ESMTPS) or of RFC 6531 (UTF8SMTP, UTF8SMTPS). What the client called
    itself is a claim and is kept as one; what its connection came from is in the brackets.
    """
    claimed = _UNSAFE.sub("?", helo)[:255] or "unknown"
    return (
        f"Received: from {claimed} ({address_literal(client_address)})\r\n"
        f"\tby {hostname} (Fallback MX) with {protocol} id {queue_id};\r\n"
        f"\t{_date(int(at.timestamp()), at.tzinfo)}\r\n"
    ).encode("ascii", "replace")
