"""Lists of addresses in DNS that are known for junk (RFC 5782): is this client on one?

Asked in an outage only, while nobody else filters. A list that does not answer in time, or not as a list does, lists
nobody: the mail is taken, and the trouble is told of once. So it is with a list that has 127.0.0.1 on it, which none
may have (section 5): lists that are given up tend to list everybody. Addresses that are not of the public internet are
never asked about. Answers are kept as long as they may be, within bounds; who asks what is being asked already waits
for the same answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver
import dns.ttl
from dns.rdtypes.IN.A import A

from fallback_mx.rules.neighbours import address_of

MAX_ANSWERS = 20_000
SHORTEST_SECONDS = 30.0
LONGEST_SECONDS = 3600.0
# A list in trouble is left alone for this long, so that not every sender waits for it.
PAUSE_SECONDS = 60.0
TROUBLES_TO_PAUSE = 3
TOLD_AGAIN_SECONDS = 600.0

_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
# Spamhaus answers so to resolvers that it does not serve. 127.0.0.1 is what others answer then, and broken resolvers.
_REFUSALS = ipaddress.ip_network("127.255.255.0/24")
_NOBODY = ipaddress.ip_address("127.0.0.1")
_NEVER_LISTED = "1.0.0.127"
# Private access to a list has a key in its name, which is nobody else's business.
_KEY_LENGTH = 20


def reversed_name(client_address: str) -> str | None:
    """The labels to ask for: octets or nibbles backwards (RFC 5782, 2.1 and 2.4). None for what is never asked."""
    address = address_of(client_address)
    if address is None or not address.is_global:
        return None
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


def public_name(zone: str) -> str:
    """The list's name as anybody may read it, without the key of a private access."""
    return ".".join(label for label in zone.split(".") if len(label) < _KEY_LENGTH)


def refusal(client_address: str, zone: str) -> str:
    """The reply to a client that is listed: temporary, so that the primary has the last word once it is back."""
    return f"451 4.7.1 {client_address} is listed by {public_name(zone)}; please try again once the primary is back"


def make_resolver(timeout_seconds: float) -> dns.asyncresolver.Resolver:
    """The system's name servers, asked twice within the time. Without any, every question is a trouble."""
    try:
        resolver = dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.timeout = timeout_seconds / 2
    return resolver


class NotAnswered(Exception):
    """A list did not answer as a list does. Text and advice are for the operator."""

    def __init__(self, text: str, advice: str = "If it stays so, take the list out of server.dnsbl.") -> None:
        super().__init__(text)
        self.advice = advice


@dataclass(slots=True)
class _List:
    """How one list has behaved lately."""

    zone: str
    troubles: int = 0
    paused_until: float = float("-inf")
    told_at: float = float("-inf")


class Dnsbl:
    """The configured lists. `clock` gives monotonic seconds; `on_trouble(list, text)` hears of a list's troubles."""

    def __init__(
        self,
        zones: Sequence[str],
        resolver: dns.asyncresolver.Resolver,
        *,
        timeout_seconds: float,
        clock: Callable[[], float],
        on_trouble: Callable[[str, NotAnswered], None],
    ) -> None:
        self._lists = [_List(zone) for zone in zones]
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._on_trouble = on_trouble
        # By question: whether it is listed, and until when that holds. The oldest question goes first.
        self._answers: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[bool]] = {}

    def known(self, client_address: str) -> str | None:
        """What `listed_by` would say, if that is known without asking: "" for no list. None: ask."""
        name = reversed_name(client_address)
        if name is None:
            return ""
        answers = [(one, self._known(one, name)) for one in self._lists]
        if any(answer is None for _, answer in answers):
            return None
        return next((one.zone for one, answer in answers if answer), "")

    async def listed_by(self, client_address: str) -> str:
        """The first list that has this client, "" where none has. Takes no longer than the timeout; never raises."""
        name = reversed_name(client_address)
        if name is None:
            return ""
        found = await asyncio.gather(*(self._is_listed(one, name) for one in self._lists))
        return next((one.zone for one, is_listed in zip(self._lists, found, strict=True) if is_listed), "")

    async def close(self) -> None:
        """Ask no more. Who still waits is told that nothing is listed."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    # One list -----------------------------------------------------------------------------------------------------

    def _known(self, one: _List, name: str) -> bool | None:
        if self._clock() < one.paused_until:
            return False
        listed = self._recall(f"{name}.{one.zone}.")
        if not listed:
            return listed
        lists_everybody = self._recall(f"{_NEVER_LISTED}.{one.zone}.")
        return None if lists_everybody is None else not lists_everybody

    async def _is_listed(self, one: _List, name: str) -> bool:
        known = self._known(one, name)
        if known is not None:
            return known
        listed, lists_everybody = await asyncio.gather(
            self._answer(one, f"{name}.{one.zone}."), self._answer(one, f"{_NEVER_LISTED}.{one.zone}.")
        )
        if listed and lists_everybody:
            self._in_trouble(one, NotAnswered("it lists 127.0.0.1 and so, it seems, everybody"))
        return listed and not lists_everybody

    # Questions ----------------------------------------------------------------------------------------------------

    def _recall(self, question: str) -> bool | None:
        found = self._answers.get(question)
        return found[0] if found is not None and self._clock() < found[1] else None

    def _remember(self, question: str, listed: bool, seconds: float) -> None:
        self._answers.pop(question, None)
        self._answers[question] = (listed, self._clock() + seconds)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    async def _answer(self, one: _List, question: str) -> bool:
        known = self._recall(question)
        if known is not None:
            return known
        task = self._asking.get(question)
        if task is None:
            task = self._asking[question] = asyncio.create_task(self._ask(one, question))
            task.add_done_callback(lambda _: self._asking.pop(question, None))
        # A client that goes away must not take the answer from the others.
        with contextlib.suppress(asyncio.CancelledError):
            return await asyncio.shield(task)
        if not task.cancelled():
            raise asyncio.CancelledError
        return False

    async def _ask(self, one: _List, question: str) -> bool:
        try:
            listed, ttl_seconds = await self._resolve(question)
        except (NotAnswered, dns.exception.DNSException, OSError) as error:
            self._remember(question, False, SHORTEST_SECONDS)
            self._in_trouble(one, error if isinstance(error, NotAnswered) else NotAnswered(_one_line(error)))
            return False
        one.troubles = 0
        self._remember(question, listed, min(max(ttl_seconds, SHORTEST_SECONDS), LONGEST_SECONDS))
        return listed

    async def _resolve(self, question: str) -> tuple[bool, float]:
        """Whether it is listed, and for how many seconds that holds."""
        try:
            answer = await self._resolver.resolve(
                question, "A", search=False, lifetime=self._timeout_seconds, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN as nothing:
            responses: dict[dns.name.Name, dns.message.QueryMessage] = nothing.kwargs.get("responses", {})
            return False, min(
                (_ttl_seconds(response.resolve_chaining()) for response in responses.values()), default=0.0
            )
        found = [ipaddress.ip_address(record.address) for record in answer.rrset or () if isinstance(record, A)]
        for address in found:
            if address not in _LOOPBACK:
                raise NotAnswered(f"it answers {address}, which is no answer of a list")
            if address in _REFUSALS or address == _NOBODY:
                advice = "Ask it through a name server of your own: lists refuse the large public ones."
                raise NotAnswered(f"it answers {address}: it does not serve this resolver", advice)
        return bool(found), _ttl_seconds(answer.chaining_result)

    def _in_trouble(self, one: _List, trouble: NotAnswered) -> None:
        now = self._clock()
        one.troubles += 1
        if one.troubles >= TROUBLES_TO_PAUSE:
            one.paused_until = now + PAUSE_SECONDS
        if now - one.told_at >= TOLD_AGAIN_SECONDS:
            one.told_at = now
            self._on_trouble(public_name(one.zone), trouble)


def _ttl_seconds(result: dns.message.ChainingResult) -> float:
    """How long this holds. That there is nothing holds as long as the SOA record beside it says (RFC 2308); without one
    it is not to be kept."""
    return float(result.minimum_ttl) if result.minimum_ttl != dns.ttl.MAX_TTL else 0.0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
