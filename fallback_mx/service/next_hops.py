"""The way to each primary, made from its configuration: where to, and on which terms. Deliveries, probes, questions and
mail that is played through all go by it.
"""

from __future__ import annotations

from fallback_mx import maillog
from fallback_mx.config import Primary, Server
from fallback_mx.rules.disposition import Loop, NoConnection
from fallback_mx.smtp.certificates import Pin
from fallback_mx.smtp.dial import DialSettings
from fallback_mx.smtp.forwarded import Announce
from fallback_mx.smtp.login import Login
from fallback_mx.smtp.ourselves import Ourselves
from fallback_mx.smtp.reach import AddressFamily, Source
from fallback_mx.smtp.route import Destination, NextHop
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy, Trust


def destination_of(primary: Primary, server: Server) -> Destination:
    """Where mail for this primary goes next."""
    return Destination(
        hops=tuple(NextHop(each.host, each.port) for each in primary.next_hosts),
        domain=primary.domains[0],
        port=primary.port,
        ourselves=Ourselves(
            frozenset({server.hostname}), listen=tuple((each.host, each.port) for each in server.listen)
        ),
        wants_validation=primary.tls == "dane",
    )


def dial_settings(primary: Primary, server: Server, timeouts: Timeouts | None = None) -> DialSettings:
    """On which terms."""
    addresses = {address.version: str(address) for address in primary.source_address}
    login = None
    if primary.username is not None and primary.password_file is not None:
        login = Login(primary.username, primary.password_file)
    return DialSettings(
        hello_name=server.hostname,
        tls=TlsPolicy(primary.tls),
        timeouts=timeouts or Timeouts(),
        trust=Trust(primary.tls_ca_file, primary.tls_name or "", tuple(map(Pin.parse, primary.tls_pins))),
        login=login,
        source=Source(AddressFamily(primary.address_family), addresses.get(4, ""), addresses.get(6, "")),
        announce=Announce(primary.announce_client),
    )


class Alarms:
    """What keeps mail from one primary that only a person can put right: said once, and again when it has changed."""

    def __init__(self, primary: str, next_hop: str) -> None:
        self._primary = primary
        self._next_hop = next_hop
        self._said = ""

    def failed(self, failure: NoConnection) -> None:
        if str(failure) == self._said:
            return
        if isinstance(failure, Loop):
            maillog.loop(self._primary, next_hop=self._next_hop, detail=failure.detail)
        elif failure.phase == "auth":
            maillog.login_failed(self._primary, next_hop=self._next_hop, detail=failure.detail)
        else:
            return
        self._said = str(failure)

    def reached(self) -> None:
        self._said = ""
