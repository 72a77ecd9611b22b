"""Does the sender's domain vouch for a message? Asked at the moment when it matters, not when the message came.

SPF is asked first, then, where it does not pass, the message is read and its signatures are. Whatever cannot be found
out (a name server that does not answer, a message that is too large to be verified) is no: nothing is sent on a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import dns.asyncresolver
import dns.resolver

from fallback_mx.bounces.names import Names, Unanswered
from fallback_mx.rules.bouncing import Verdict, domain_of
from mxqueue import Message

VOUCHING_SECONDS = 20.0
SIGNED_OCTETS = 10 * 1024 * 1024
Chunks = Callable[[], AsyncIterator[bytes]]


def system_resolver() -> dns.asyncresolver.Resolver:
    """The machine's own; where it has none, one that knows nobody: then nobody vouches for anything."""
    try:
        return dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return dns.asyncresolver.Resolver(configure=False)


class Voucher:
    """Asks a resolver of this loop. At most a few messages at once: each takes a thread, and its content in memory."""

    def __init__(
        self,
        resolver: dns.asyncresolver.Resolver,
        *,
        seconds: float = VOUCHING_SECONDS,
        signed_octets: int = SIGNED_OCTETS,
        at_once: int = 2,
    ) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._signed_octets = signed_octets
        self._free = asyncio.Semaphore(at_once)

    async def vouch(self, message: Message, chunks: Chunks) -> Verdict:
        """`chunks` gives the content. Raises what reading it raises."""
        # Most services never ask, and these take a while to import.
        from fallback_mx.bounces import sender_policy, signatures

        async with self._free:
            loop = asyncio.get_running_loop()
            names = Names(self._resolver, loop, self._seconds)
            domain = domain_of(message.reverse_path)
            policy = await asyncio.to_thread(
                sender_policy.check, names, message.client_address, message.reverse_path, message.helo
            )
            if policy == "pass":
                return Verdict(True, f"SPF of {domain} passes {message.client_address}")
            no_policy = f"SPF of {domain} says {policy}"
            if message.size > self._signed_octets:
                return Verdict(False, f"{no_policy}, and the message is too large to look for a signature")
            content = b"".join([piece async for piece in chunks()])
            try:
                signer = await asyncio.to_thread(signatures.valid_for, domain, content, names)
            except Unanswered as error:
                return Verdict(False, f"{no_policy}, and a signature cannot be verified: {error}")
        if signer is None:
            return Verdict(False, f"{no_policy}, and there is no valid DKIM signature for {domain}")
        return Verdict(True, f"signed by {signer} (DKIM)")
