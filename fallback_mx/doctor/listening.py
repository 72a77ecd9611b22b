"""Does our own listener answer: where it says it listens, and at the public address on the port that senders use?

We are the client here, under a name that is not our own. What the listener showed (its name, its TLS, its certificates)
is what other checks go by, so that it is looked at once for all of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import dns.asyncresolver

from fallback_mx.doctor.asking import addresses_of
from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.doctor.patient import Patient
from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.dial import DialSettings, Line, open_first
from fallback_mx.smtp.ourselves import plain
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy, Trust

LISTENER, INWARDS, STARTTLS = "listener", "port-in", "starttls"
# An address that means nobody in particular, and that a listener does not take for its own name.
HELLO_NAME = "[127.0.0.1]"
# The longest greeting_delay, and some seconds.
TIMEOUTS = Timeouts(connect=10.0, banner=40.0, command=20.0, quit=2.0)


@dataclass(frozen=True, slots=True)
class Heard:
    """One place, and what was heard there. `trouble` is why nothing was, in `phase`; `name` is what it calls itself."""

    place: str
    name: str = ""
    phase: str = ""
    trouble: str = ""
    offers_starttls: bool = False
    tls: str = ""
    tls_error: str = ""
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """What was heard where the configuration says that we listen, and at the addresses of our name. `untrusted` is why
    a client that verifies certificates would not believe ours, "" where it would, None where nobody could ask."""

    hostname: str
    local: tuple[Heard, ...] = ()
    public: tuple[Heard, ...] = ()
    untrusted: str | None = None
    is_behind_proxy: bool = False

    @property
    def first(self) -> Heard | None:
        """The first place where our service itself answers."""
        ours = [each for each in (*self.local, *self.public) if not each.trouble and each.name == plain(self.hostname)]
        return next(iter(ours), None)


async def call(place: tuple[str, int], policy: TlsPolicy = TlsPolicy.OPPORTUNISTIC, name: str = "") -> Line:
    """A line to one address. Raises NoConnection."""
    settings = DialSettings(HELLO_NAME, policy, timeouts=TIMEOUTS, trust=Trust(name=name))
    return await open_first([NextHop(*place)], settings)


async def gather(patient: Patient, resolver: dns.asyncresolver.Resolver) -> ListenerFacts:
    found, _ = await addresses_of(resolver, patient.hostname)
    local, public = patient.local_places, tuple((address, patient.port) for address in found)
    everywhere = list(dict.fromkeys((*local, *public)))
    heard = dict(zip(everywhere, await asyncio.gather(*map(_hear, everywhere)), strict=True))
    encrypted = next((place for place, one in heard.items() if one.tls and one.name == plain(patient.hostname)), None)
    untrusted = None if encrypted is None else await _distrust(encrypted, patient.hostname)
    return ListenerFacts(
        patient.hostname,
        tuple(heard[each] for each in local),
        tuple(heard[each] for each in public),
        untrusted,
        patient.is_behind_proxy,
    )


async def _hear(place: tuple[str, int]) -> Heard:
    where = str(NextHop(*place))
    try:
        pipeline, greeting = await call(place)
    except NoConnection as failure:
        return Heard(where, phase=failure.phase, trouble=failure.detail)
    try:
        await pipeline.leave()
    finally:
        pipeline.abort()
    is_offered = greeting.tls is not None or greeting.tls_error is not None or "starttls" in greeting.extensions
    return Heard(
        where,
        greeting.offered.name,
        offers_starttls=is_offered,
        tls=greeting.tls or "",
        tls_error=greeting.tls_error or "",
        certificates=greeting.certificates,
    )


async def _distrust(place: tuple[str, int], hostname: str) -> str:
    try:
        pipeline, _ = await call(place, TlsPolicy.VERIFY, hostname)
    except NoConnection as failure:
        return failure.detail
    pipeline.abort()
    return ""


def judge_listener(facts: ListenerFacts) -> list[Finding]:
    """Where it says that it listens."""
    return [_judge_place(each, facts) for each in facts.local]


def _judge_place(heard: Heard, facts: ListenerFacts) -> Finding:
    us = plain(facts.hostname)
    if heard.trouble and heard.phase != "connect" and facts.is_behind_proxy:
        reason = f"{heard.place} wants a PROXY header from this machine, and cannot be looked at from here"
        fix = "Look from a machine that is not in server.proxy_protocol_from, or through the load balancer."
        return warning(LISTENER, heard.place, reason, fix)
    if heard.trouble:
        fix = "Start the service (systemctl start fallback-mx) and look at its log; `fallback-mx config check` first."
        return error(LISTENER, heard.place, f"nothing answers where we listen: {heard.trouble}", fix)
    if heard.name != us:
        reason = f"{heard.place} answers as {heard.name or 'nobody'}, not as {us}"
        fix = "Another mail server has this port, or the service was not restarted since server.hostname was changed."
        return error(LISTENER, heard.place, reason, fix)
    return ok(LISTENER, heard.place, f"{heard.place} answers as {us}")


def judge_inwards(facts: ListenerFacts) -> list[Finding]:
    """At our public addresses, as far as that can be seen from this machine."""
    if not facts.public:
        fix = "See to the address first."
        return [
            error(INWARDS, facts.hostname, f"no address of {facts.hostname} is known that it could be reached at", fix)
        ]
    answers_here = any(not each.trouble for each in facts.local)
    return [_judge_public(each, facts, answers_here=answers_here) for each in facts.public]


def _judge_public(heard: Heard, facts: ListenerFacts, *, answers_here: bool) -> Finding:
    us = plain(facts.hostname)
    outside = f"Try from a machine elsewhere: `nc -v {us} {heard.place.rpartition(':')[2]}` must show our greeting."
    if heard.trouble and answers_here:
        reason = f"the service runs, and {heard.place} does not answer from here: {heard.trouble}"
        fix = (
            f"Open the port in every firewall before this machine, the provider's too. {outside} Behind address "
            "translation a machine often cannot reach its own public address: then only that tells."
        )
        return warning(INWARDS, heard.place, reason, fix)
    if heard.trouble:
        fix = f"Start the service, and see that it listens at this address (server.listen). {outside}"
        return error(INWARDS, heard.place, f"{heard.place} does not answer: {heard.trouble}", fix)
    if heard.name != us:
        reason = f"{heard.place} answers as {heard.name or 'nobody'}, not as {us}: senders reach another server"
        fix = "Correct the address in DNS, or what hands the port on."
        return error(INWARDS, heard.place, reason, fix)
    return ok(INWARDS, heard.place, f"{heard.place} answers as {us}, seen from this machine. {outside}")


def judge_starttls(facts: ListenerFacts, *, is_configured: bool) -> Finding:
    """Whether senders can speak TLS with us (RFC 3207)."""
    heard = facts.first
    if heard is None:
        fix = "See to the listener first."
        return error(STARTTLS, facts.hostname, "our listener could not be asked", fix)
    if not heard.offers_starttls and is_configured:
        reason = "a certificate is configured, and the service that runs does not offer STARTTLS"
        return error(STARTTLS, heard.place, reason, "systemctl restart fallback-mx, and look at its log.")
    if not heard.offers_starttls:
        reason = "STARTTLS is not offered: mail comes in clear, and senders that insist on TLS do not come at all"
        fix = (
            "Write server.tls_certificate and server.tls_key; a certificate of any authority will do for most senders."
        )
        return warning(STARTTLS, heard.place, reason, fix)
    if not heard.tls:
        reason = f"STARTTLS is offered and does not work: {heard.tls_error}"
        return error(STARTTLS, heard.place, reason, "Look at the certificate and key, and at the service's log.")
    return ok(STARTTLS, heard.place, f"{heard.place} speaks {heard.tls}")
