"""Does the primary let us in: is its port reachable from here, and does it exempt us from what keeps strangers out?

Two transactions are begun and taken back (MAIL, RCPT, RSET; RFC 5321, section 4.1.1.5), by the way that mail goes: one
with the null reverse-path, one with a sender whose SPF policy does not let mail come from our address, as it is with
all mail of an outage. Without DATA: nothing is sent, and what a server says only after the content is not heard.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import dns.asyncresolver

from fallback_mx.bounces import sender_policy
from fallback_mx.bounces.names import Names
from fallback_mx.doctor.asking import addresses_of
from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.doctor.patient import Tools, Ward
from fallback_mx.rules.disposition import NoConnection, Reply
from fallback_mx.smtp.dial import open_first
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.route import MxRoute, NextHop
from fallback_mx.smtp.steps import Step, Timeouts

OUTWARDS, PRIMARY, SPF = "port-out", "primary", "spf"
SPF_SECONDS = 15.0
TIMEOUTS = Timeouts(connect=10.0, banner=40.0, command=30.0, quit=2.0)
FORBIDDEN = ("fail", "softfail")
# example.com lets nobody send for it (RFC 2606; its SPF policy is "v=spf1 -all").
STRANGER = "postmaster@example.com"

_GREYLISTED = re.compile(r"gr[ae]y.?list", re.IGNORECASE)
_LIMITED = re.compile(r"rate|too many|too much|limit|throttl|slow down|exceeded", re.IGNORECASE)
# 5.7.23 and 5.7.24 are RFC 7372's for SPF.
_ABOUT_SPF = re.compile(
    r"\bspf\b|sender policy|5\.7\.2[34]\b|not (?:allowed|permitted|authori[sz]ed) to send", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Tried:
    """One transaction: what was said to MAIL and to RCPT (None: it did not come to that), and how it broke off."""

    reverse_path: str
    mail: Reply | None = None
    rcpt: Reply | None = None
    lost: str = ""

    @property
    def last(self) -> Reply | None:
        return self.rcpt or self.mail

    @property
    def is_taken(self) -> bool:
        return self.rcpt is not None and self.rcpt.is_success


@dataclass(frozen=True, slots=True)
class PrimaryFacts:
    """What one primary said. `failure` is as far as a connection got, None where there was one. `forbidden` was tried
    with a sender whose policy says `spf` of `address`."""

    primary: str
    to: str
    recipient: str
    failure: NoConnection | None = None
    tls: str = ""
    plain: Tried | None = None
    forbidden: Tried | None = None
    spf: str = ""
    address: str = ""


async def gather(ward: Ward, hostname: str, tools: Tools) -> PrimaryFacts:
    facts = PrimaryFacts(ward.name, str(ward.destination), ward.test_recipient)
    address = await _our_address(ward, hostname, tools.resolver)
    sender, result = await _forbidden_sender(ward, hostname, address, tools.resolver)
    facts = replace(facts, spf=result, address=address)
    dial = replace(ward.dial, timeouts=TIMEOUTS, resolver=tools.resolver if tools.is_chosen else None)
    try:
        pipeline, greeting = await open_first(await _hops(ward, tools), dial)
    except NoConnection as failure:
        return replace(facts, failure=failure)
    facts = replace(facts, tls=greeting.tls or "")
    try:
        facts = replace(facts, plain=await _try(pipeline, "", facts.recipient))
        if sender and pipeline.broken is None:
            facts = replace(facts, forbidden=await _try(pipeline, sender, facts.recipient))
        await pipeline.leave()
    finally:
        pipeline.abort()
    return facts


async def _hops(ward: Ward, tools: Tools) -> Sequence[NextHop]:
    """Where mail would go; by the name server that was asked for, where one was."""
    route = ward.destination
    if not tools.is_chosen:
        return await route.route().next_hops()
    if not route.hops:
        by_mx = MxRoute(route.domain, route.ourselves, tools.resolver, random.random, route.port)
        return await by_mx.next_hops()
    return [await _looked_up(hop, tools.resolver) for hop in route.hops]


async def _looked_up(hop: NextHop, resolver: dns.asyncresolver.Resolver) -> NextHop:
    # An address, or a name of this machine's own, is for the system.
    if ":" in hop.host or "." not in hop.host or hop.host.replace(".", "").isdigit():
        return hop
    found, trouble = await addresses_of(resolver, hop.host)
    if not found:
        raise NoConnection("route", trouble or f"{hop.host} has no address")
    return replace(hop, addresses=found)


async def _our_address(ward: Ward, hostname: str, resolver: dns.asyncresolver.Resolver) -> str:
    """From where the primary sees us come, as far as that can be told here; "" where it cannot."""
    source = ward.dial.source.ipv4 or ward.dial.source.ipv6
    if source:
        return source
    found, _ = await addresses_of(resolver, hostname)
    return next(iter(found), "")


async def _forbidden_sender(
    ward: Ward, hostname: str, address: str, resolver: dns.asyncresolver.Resolver
) -> tuple[str, str]:
    """A sender whose policy is against us, and what it says; ("", …) where none was found."""
    result = ""
    loop = asyncio.get_running_loop()
    for sender in [ward.sender] if ward.sender else [f"postmaster@{ward.domain}", STRANGER]:
        names = Names(resolver, loop, SPF_SECONDS)
        result = await asyncio.to_thread(sender_policy.check, names, address, sender, hostname)
        if result in FORBIDDEN:
            return sender, result
    return "", result


async def _try(pipeline: Pipeline, reverse_path: str, forward_path: str) -> Tried:
    tried = Tried(reverse_path)
    tried = replace(tried, mail=await pipeline.converse(Step.MAIL, f"MAIL FROM:<{reverse_path}>\r\n".encode()))
    if tried.mail is not None and tried.mail.is_success:
        tried = replace(tried, rcpt=await pipeline.converse(Step.RCPT, f"RCPT TO:<{forward_path}>\r\n".encode()))
    if pipeline.broken is None:
        await pipeline.converse(Step.RSET, b"RSET\r\n")
    return replace(tried, lost=str(pipeline.farewell or pipeline.broken or ""))


def judge_outwards(facts: PrimaryFacts) -> Finding:
    """Whether there is a way to it from here."""
    name, failure = facts.primary, facts.failure
    if failure is None:
        encrypted = f", {facts.tls}" if facts.tls else ", in clear"
        return ok(OUTWARDS, name, f"{name} is reached at {facts.to}{encrypted}")
    if failure.phase in ("banner", "ehlo", "starttls", "auth"):
        return ok(OUTWARDS, name, f"{name} is reached at {facts.to}")
    reason = f"{name} cannot be reached at {facts.to}: {failure.detail}"
    if failure.phase == "ours":
        return error(OUTWARDS, name, reason, "This machine itself could not try: see to what it lacks.")
    if failure.phase == "route":
        return error(OUTWARDS, name, reason, "Correct host (or the MX records), or the name servers of this machine.")
    fix = (
        "If the primary is down just now, that is what we are for. If it is up: let its firewall take connections from "
        "here. Many providers close port 25 outwards until they are asked to open it."
    )
    return error(OUTWARDS, name, reason, fix)


def judge_exemption(facts: PrimaryFacts) -> Finding:
    """Whether it takes a recipient from us, as in an outage's aftermath."""
    name = facts.primary
    exempt = f"On {name}, exempt {facts.address or 'our address'}"
    if facts.failure is not None:
        return _not_let_in(facts, facts.failure, exempt)
    tried = facts.plain
    if tried is None or tried.last is None or (tried.lost and not tried.is_taken):
        said = tried.lost if tried else "nothing"
        return _refused(facts, said, exempt)
    if tried.is_taken:
        return ok(PRIMARY, name, f"{name} would take mail for {facts.recipient} from us")
    return _refused(facts, str(tried.last), exempt, is_final=tried.last.is_refusal)


def _not_let_in(facts: PrimaryFacts, failure: NoConnection, exempt: str) -> Finding:
    name = facts.primary
    if failure.phase in ("banner", "ehlo"):
        return _refused(facts, failure.detail, exempt, is_final=failure.detail.startswith("5"))
    if failure.phase == "starttls":
        fix = "See docs/next-hop.md, TLS: mail waits here until its certificate and `tls` go together."
        return error(PRIMARY, name, f"the way to {name} cannot be encrypted as it must: {failure.detail}", fix)
    if failure.phase == "auth":
        return error(
            PRIMARY, name, f"{name} does not let us log in: {failure.detail}", "Look at username and password_file."
        )
    return warning(PRIMARY, name, f"{name} could not be asked whether it exempts us", "Ask again once it is reached.")


def _refused(facts: PrimaryFacts, said: str, exempt: str, *, is_final: bool = False) -> Finding:
    name = facts.primary
    if _GREYLISTED.search(said):
        return warning(PRIMARY, name, f"{name} greylists us: {said}", f"{exempt} from greylisting.")
    if _LIMITED.search(said):
        reason = f"{name} limits how much we may bring: {said}"
        return warning(
            PRIMARY, name, reason, f"{exempt} from rate and connection limits: an outage's mail comes at once."
        )
    if is_final:
        reason = f"{name} refuses mail for {facts.recipient} from us: {said}"
        return error(
            PRIMARY, name, reason, f"{exempt} from its block lists and filters; or name a recipient with --to."
        )
    reason = f"{name} puts us off: {said}"
    fix = f"{exempt} from greylisting and limits, if that is what it is; look at its log for why."
    return warning(PRIMARY, name, reason, fix)


def judge_spf(facts: PrimaryFacts) -> Finding:
    """What the primary makes of a sender whose policy is against us, as most senders' policies are."""
    name, tried = facts.primary, facts.forbidden
    if facts.failure is not None or facts.plain is None:
        return warning(SPF, name, f"{name} could not be asked what it makes of SPF", "Ask again once it is reached.")
    exempt = f"On {name}, exempt {facts.address or 'our address'} from SPF: we bring other people's mail."
    if tried is None:
        said = f"SPF says {facts.spf}" if facts.spf else "nothing was found out"
        reason = f"no sender was found whose SPF policy is against {facts.address or 'our address'} ({said})"
        return warning(SPF, name, reason, f"{exempt} To see whether it does, name one with --sender.")
    who = f"{tried.reverse_path} (SPF: {facts.spf})"
    if tried.is_taken:
        return ok(SPF, name, f"{name} takes {who} from us, as far as it says before the content")
    if not facts.plain.is_taken:
        return warning(SPF, name, f"{name} does not take anything from us just now", "See to the primary first.")
    said = str(tried.last) if tried.last else tried.lost
    if _ABOUT_SPF.search(said):
        return error(SPF, name, f"{name} refuses {who} from us for its SPF policy: {said}", exempt)
    reason = f"{name} takes the null sender from us, and not {who}: {said}"
    if tried.last is not None and tried.last.is_refusal:
        return error(SPF, name, reason, f"{exempt} If it is not SPF, its log says what it is.")
    return warning(SPF, name, reason, f"{exempt} If it is greylisting, exempt us from that.")
