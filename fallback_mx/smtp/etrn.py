"""ETRN: a primary that is back asks for what waits for it (RFC 1985).

Offered to the primaries' own addresses alone, and obeyed for a primary's own domains alone: everybody else is told 459,
the reply of sections 5.1 and 5.2 for a client that is not on the list. Nothing is sent that would not be sent anyway,
and nothing to another place: what is pending is made due, and a primary that is not up is looked at first. Those who
ask again and again get the answer of a moment ago.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fallback_mx.domains import normalised
from fallback_mx.smtp.networks import Networks

if TYPE_CHECKING:
    from fallback_mx.smtp.session import Session
    from fallback_mx.smtp.terms import Route

AnyNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Pending(NamedTuple):
    """What waits for the primaries that were asked for, and whether they are up."""

    messages: int
    is_up: bool


Ask = Callable[[Sequence[str], str, Callable[[Pending | None], None]], None]
"""Starts the queues of these primaries for the client at this address. What it is given last is called later on the
event loop: with what waits, or with None where that cannot be said now."""


class Callers:
    """The clients that may ask, by the primaries they may ask for."""

    def __init__(self, networks: Mapping[str, Iterable[AnyNetwork]]) -> None:
        self._hosts: dict[str, tuple[str, ...]] = {}
        self._networks: dict[str, Networks] = {}
        for primary, each in networks.items():
            wide = [network for network in each if network.num_addresses > 1]
            if wide:
                self._networks[primary] = Networks(wide)
            for network in each:
                if network.num_addresses == 1:
                    host = str(network.network_address)
                    self._hosts[host] = (*self._hosts.get(host, ()), primary)

    def primaries_of(self, client_address: str) -> tuple[str, ...]:
        """Asked at every EHLO: nearly always there is nothing to it but one look into a table."""
        named = self._hosts.get(client_address, ())
        if self._networks:
            named += tuple(primary for primary, networks in self._networks.items() if client_address in networks)
        return named


def on_etrn(session: Session, argument: str) -> None:
    listener = session.listener
    own = listener.callers.primaries_of(session.client_address)
    if not own:
        listener.events.refused(session.client_address, "", "etrn", "459 4.7.1")
        return session.fault("459 4.7.1 ETRN is for the mail servers that this one stands in for")
    if not session.helo:
        return session.fault("503 5.5.1 Send EHLO first")
    if session.transaction is not None:
        return session.fault("503 5.5.1 A mail transaction is under way")
    if argument.startswith("#"):
        return session.fault("458 4.3.3 There are no queues with names here: ETRN domain, or ETRN @domain")
    try:
        node = normalised(argument.removeprefix("@"))
    except ValueError:
        return session.fault("501 5.5.4 Syntax: ETRN domain, or ETRN @domain")
    asked = _asked_for(node, listener.settings.routes, own, with_subdomains=argument.startswith("@"))
    if not asked:
        return session.fault(f"459 4.7.1 {node} is not allowed: it is no domain of yours here")
    session.wait()
    return listener.ask(asked, session.client_address, lambda pending: _answer(session, node, pending))


def _asked_for(node: str, routes: Mapping[str, Route], own: Sequence[str], *, with_subdomains: bool) -> list[str]:
    """The primaries, among those of the client, with this domain."""
    named = [routes[node].name] if node in routes else []
    if with_subdomains:
        named += [route.name for domain, route in routes.items() if domain.endswith(f".{node}")]
    return [name for name in dict.fromkeys(named) if name in own]


def _answer(session: Session, node: str, pending: Pending | None) -> None:
    if session.is_gone:
        return
    if pending is None:
        session.answer(f"458 4.3.0 Unable to start the queue for {node} now, please try again later")
    elif pending.messages == 0:
        session.answer(f"251 2.0.0 OK, no messages waiting for {node}")
    elif pending.is_up:
        session.answer(f"253 2.0.0 OK, {pending.messages} pending messages for {node} started")
    else:
        # 250 promises least (section 5.1): that something will be done.
        session.answer(f"250 2.0.0 OK, queuing for {node} starts once it answers our probe, which is sent now")
