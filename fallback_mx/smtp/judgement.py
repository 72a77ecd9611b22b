"""Whether a recipient that could be queued is taken: lists of junk senders, what is known of it, greylisting.

They are asked in this order, each only where it has something to say, and the first that objects decides. Where one
needs time (DNS, the database, the primary) the session waits, within bounds. What cannot be found out in time objects
to nobody; only where unknown recipients are refused is the sender told to come back instead. Postmaster is taken,
always (RFC 5321, section 4.5.1).

Lists of junk senders, greylisting and the rule for unknown recipients are for outages. While the primary is up, and
mail is queued for it all the same, only a recipient that is known to be bad is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import NOT_NOW, UnknownRecipients, Verdict, answer
from fallback_mx.smtp.acquaintances import Acquaintances, Knows
from fallback_mx.smtp.doors import GREYLISTED, Doors
from fallback_mx.smtp.transaction import Named, Refusal

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

    from fallback_mx.smtp.dnsbl import Dnsbl
    from fallback_mx.smtp.terms import Route

MakeResolver = Callable[[float], "Resolver"]


class Case(NamedTuple):
    """A recipient, and who names it."""

    client_address: str
    reverse_path: str
    named: Named


class Judge:
    """Of one process. `on_trouble(part, error)` hears of lists that do not answer as lists do."""

    def __init__(
        self,
        knows: Knows,
        doors: Doors,
        state_of: Callable[[str], State],
        on_trouble: Callable[[str, Exception], None],
        make_resolver: MakeResolver | None = None,
    ) -> None:
        """`make_resolver` is given the timeout in seconds; without it the system's name servers are asked."""
        self.doors = doors
        self._loop = asyncio.get_running_loop()
        self._acquaintances = Acquaintances(knows, self._loop.time)
        self._state_of = state_of
        self._on_trouble = on_trouble
        self._make_resolver = make_resolver
        self._lists: tuple[tuple[str, ...], float] = ((), 0.0)
        self._dnsbl: Dnsbl | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def configure(self, dnsbl: tuple[str, ...], dnsbl_timeout_seconds: float) -> None:
        self._acquaintances.forget()
        lists = (dnsbl, dnsbl_timeout_seconds)
        if lists == self._lists:
            return
        if self._dnsbl is not None:
            self._keep(self._loop.create_task(self._dnsbl.close()))
        self._lists = lists
        self._dnsbl = self._open(dnsbl, dnsbl_timeout_seconds) if dnsbl else None

    def _open(self, zones: tuple[str, ...], timeout_seconds: float) -> Dnsbl:
        # Imported where lists are asked, and not by every process that takes mail in: DNS is a third of its size.
        from fallback_mx.smtp.dnsbl import Dnsbl, make_resolver

        return Dnsbl(
            zones,
            (self._make_resolver or make_resolver)(timeout_seconds),
            timeout_seconds=timeout_seconds,
            clock=self._loop.time,
            on_trouble=lambda zone, error: self._on_trouble(f"dnsbl {zone}", error),
        )

    async def close(self) -> None:
        """Drop what is being asked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._acquaintances.close()
        if self._dnsbl is not None:
            await self._dnsbl.close()

    # At RCPT ------------------------------------------------------------------------------------------------------

    def has_grace(self, client_address: str, reverse_path: str, named: Named) -> bool:
        """Whether to go on with a recipient though its primary is up and guards its door."""
        if self.doors.has_grace(client_address, reverse_path, named.address, named.route.grace_after_seconds):
            return True
        # The primary may be asked about it now, for the next outage.
        if named.route.calls_ahead and not named.is_postmaster:
            self._acquaintances.wonder(named.route.name, named.address)
        return False

    def asks_about(self, route: Route) -> bool:
        """Whether there is anything to be found out about a recipient on this route, or about its sender."""
        return self._dnsbl is not None or self._asks_of_recipients(route)

    def _asks_of_recipients(self, route: Route) -> bool:
        return route.asks_of_recipients or self._acquaintances.is_worth_asking(route.name)

    def takes_at_once(self, case: Case) -> bool:
        """True where the recipient is taken, False where that needs time to find out. Raises Refusal."""
        route = case.named.route
        asks = self._asks_of_recipients(route)
        if not (asks or self._dnsbl is not None) or case.named.is_postmaster:
            return True
        zone = self._known_zone(case)
        if zone is None:
            return False
        _refuse_listed(case, zone)
        if asks:
            recalled = self._acquaintances.recall(route.name, case.named.address)
            if recalled is None:
                return False
            self._refuse_unwanted(case, recalled[0])
        return True

    def judge(self, case: Case, then: Callable[[Refusal | Exception | None], None]) -> None:
        """As `takes_at_once`, however long it takes; `then` hears what is objected, None for nothing."""

        def done(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                return
            error = task.exception()
            then(error if isinstance(error, Exception) else None)

        task = self._loop.create_task(self._judge(case))
        self._keep(task)
        task.add_done_callback(done)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _judge(self, case: Case) -> None:
        zone = self._known_zone(case)
        if zone is None:
            assert self._dnsbl is not None
            zone = await self._dnsbl.listed_by(case.client_address)
        _refuse_listed(case, zone)
        route, address = case.named.route, case.named.address
        if not self._asks_of_recipients(route):
            return
        try:
            verdict = await self._acquaintances.verdict(route.name, address)
        except TimeoutError:
            is_strict = route.unknown_recipients is UnknownRecipients.REFUSE
            verdict = None if is_strict else Verdict.UNKNOWN
        self._refuse_unwanted(case, verdict)

    # What each of them says -----------------------------------------------------------------------------------------

    def _is_up(self, route: Route) -> bool:
        return self._state_of(route.name) is State.UP

    def _known_zone(self, case: Case) -> str | None:
        """The list that has this client, "" for none or where none is to be asked, None where that must be asked."""
        if self._dnsbl is None or self._is_up(case.named.route):
            return ""
        return self._dnsbl.known(case.client_address)

    def _refuse_unwanted(self, case: Case, verdict: Verdict | None) -> None:
        route = case.named.route
        domain = case.named.domain
        is_up = self._is_up(route)
        if verdict is None:
            raise Refusal(str(NOT_NOW), "unknown_recipient", domain)
        refused = answer(verdict, UnknownRecipients.ACCEPT if is_up else route.unknown_recipients)
        if refused is not None:
            raise Refusal(str(refused), "recipient" if verdict is Verdict.BAD else "unknown_recipient", domain)
        if verdict is Verdict.UNKNOWN and not is_up:
            address = case.named.address
            if self.doors.must_come_back(case.client_address, case.reverse_path, address, route.greylist_seconds):
                raise Refusal(GREYLISTED, "greylist", domain)


def _refuse_listed(case: Case, zone: str) -> None:
    if zone:
        from fallback_mx.smtp.dnsbl import refusal

        raise Refusal(refusal(case.client_address, zone), "dnsbl", case.named.domain)
