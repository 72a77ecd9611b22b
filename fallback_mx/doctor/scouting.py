"""What can be found out before there is a configuration: who a domain's exchangers are, and whether a host answers."""

from __future__ import annotations

import dns.asyncresolver

from fallback_mx.doctor.asking import ask
from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.dial import DialSettings, open_first
from fallback_mx.smtp.ourselves import plain
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.steps import Timeouts

TIMEOUTS = Timeouts(connect=5.0, banner=40.0, command=10.0, quit=2.0)


async def exchangers(domain: str, resolver: dns.asyncresolver.Resolver) -> tuple[tuple[tuple[int, str], ...], str]:
    """The domain's MX records, the first first, none where there are none; and why nobody knows, "" for no reason."""
    answer = await ask(resolver, domain, "MX")
    found = tuple(sorted((record.preference, plain(record.exchange.to_text())) for record in answer.records))
    return found, answer.trouble


async def look_at(host: str, port: int, hello_name: str) -> tuple[bool, str]:
    """Whether a mail server answers there, and what it says, or why it does not."""
    try:
        pipeline, greeting = await open_first([NextHop(host, port)], DialSettings(hello_name, timeouts=TIMEOUTS))
    except NoConnection as failure:
        return False, failure.detail
    try:
        await pipeline.leave()
    finally:
        pipeline.abort()
    return True, f"{greeting.offered.name or 'a mail server'}, {greeting.tls or 'in clear'}"
