"""How far a probe goes with a primary, each depth with all that comes before it.

connect      somebody answers at its address; nothing is said
banner       it greets with 2xx
ehlo         it answers EHLO
starttls     TLS as `tls` has it, and the login where there is one: as far as mail itself goes before MAIL
transaction  MAIL FROM:<>, RCPT TO one recipient, RSET; never DATA
"""

from __future__ import annotations

from enum import StrEnum


class Depth(StrEnum):
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TRANSACTION = "transaction"

    def includes(self, other: Depth) -> bool:
        order = list(Depth)
        return order.index(self) >= order.index(other)
