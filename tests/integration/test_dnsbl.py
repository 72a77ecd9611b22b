"""DNS lists asked over UDP on loopback: what counts as listed, and what becomes of lists that do not answer well."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rrset
import pytest

from fallback_mx.smtp.dnsbl import (
    PAUSE_SECONDS,
    TROUBLES_TO_PAUSE,
    Dnsbl,
    public_name,
    refusal,
    reversed_name,
)
from tests.fakes.dns import NameServer, Records, resolver_for

ZONE = "bl.example.test"
# Of the public internet, as every address must be that is asked about; no packet goes there.
JUNK, HONEST = "8.8.4.4", "9.9.9.9"
JUNK_V6 = "2620:fe::9"
NIBBLES = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.f.0.0.0.2.6.2"


@dataclass
class Site:
    """The lists as a session has them, and what was heard of their troubles."""

    dnsbl: Dnsbl
    server: NameServer
    now: float = 1000.0
    troubles: list[tuple[str, str]] = field(default_factory=list)

    def questions(self) -> list[str]:
        return [name for name, _, _ in self.server.asked if not name.startswith("1.0.0.127.")]


@asynccontextmanager
async def site(
    records: Records, *, zones: tuple[str, ...] = (ZONE,), broken: dict[str, dns.rcode.Rcode] | None = None
) -> AsyncIterator[Site]:
    server = NameServer(records, broken=broken)
    async with resolver_for(server) as resolver:
        here = _site(resolver, server, zones)
        yield here
        await here.dnsbl.close()


def _site(resolver: dns.asyncresolver.Resolver, server: NameServer, zones: tuple[str, ...]) -> Site:
    dnsbl = Dnsbl(
        zones,
        resolver,
        timeout_seconds=2.0,
        clock=lambda: here.now,
        on_trouble=lambda zone, error: here.troubles.append((zone, str(error))),
    )
    here = Site(dnsbl, server)
    return here


def listing(address: str = JUNK, zone: str = ZONE, answer: str = "127.0.0.2") -> Records:
    return {(f"{reversed_name(address)}.{zone}.", "A"): [answer]}


def run(test: Callable[[], object]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


def test_a_client_on_the_list_is_listed_and_another_is_not() -> None:
    async def test() -> None:
        async with site(listing()) as here:
            assert await here.dnsbl.listed_by(JUNK) == ZONE
            assert await here.dnsbl.listed_by(HONEST) == ""
            assert here.questions() == [f"4.4.8.8.{ZONE}.", f"9.9.9.9.{ZONE}."]
            assert here.troubles == []

    run(test)


def test_an_ipv6_client_is_asked_for_by_its_nibbles_backwards() -> None:
    async def test() -> None:
        async with site({(f"{NIBBLES}.{ZONE}.", "A"): ["127.0.0.4"]}) as here:
            assert await here.dnsbl.listed_by(JUNK_V6) == ZONE

    run(test)


def test_an_ipv4_client_in_ipv6_dress_is_asked_for_as_ipv4() -> None:
    assert reversed_name(f"::ffff:{JUNK}") == "4.4.8.8"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "fe80::1", "fd00::1",
     "0.0.0.0", "::ffff:10.1.2.3", "", "no address"],
)  # fmt: skip
def test_an_address_that_is_not_of_the_public_internet_is_never_asked_about(address: str) -> None:
    async def test() -> None:
        async with site({}) as here:
            assert await here.dnsbl.listed_by(address) == ""
            assert here.dnsbl.known(address) == ""
            assert here.server.asked == []

    run(test)


def test_the_first_of_two_lists_that_has_the_client_is_named() -> None:
    async def test() -> None:
        async with site(listing(zone="second.example.test"), zones=(ZONE, "second.example.test")) as here:
            assert await here.dnsbl.listed_by(JUNK) == "second.example.test"

    run(test)


@pytest.mark.parametrize("answer", ["127.0.0.2", "127.0.1.255", "127.255.254.1"])
def test_an_answer_within_127_8_is_a_listing(answer: str) -> None:
    async def test() -> None:
        async with site(listing(answer=answer)) as here:
            assert await here.dnsbl.listed_by(JUNK) == ZONE

    run(test)


@pytest.mark.parametrize("answer", ["127.255.255.252", "127.255.255.254", "127.255.255.255", "127.0.0.1", "192.0.2.80"])
def test_an_answer_that_is_no_listing_counts_as_nothing_and_is_told_of(answer: str) -> None:
    async def test() -> None:
        async with site(listing(answer=answer)) as here:
            assert await here.dnsbl.listed_by(JUNK) == ""
            [(zone, text)] = here.troubles
            assert zone == ZONE
            assert answer in text

    run(test)


def test_a_list_that_has_127_0_0_1_on_it_lists_nobody() -> None:
    async def test() -> None:
        async with site(listing() | {(f"1.0.0.127.{ZONE}.", "A"): ["127.0.0.2"]}) as here:
            assert await here.dnsbl.listed_by(JUNK) == ""
            assert await here.dnsbl.listed_by(JUNK) == ""
            assert [zone for zone, _ in here.troubles] == [ZONE]

    run(test)


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_name_server_in_trouble_lists_nobody_and_is_told_of_once(code: dns.rcode.Rcode) -> None:
    async def test() -> None:
        names = [f"4.4.8.8.{ZONE}.", f"9.9.9.9.{ZONE}.", f"1.0.0.127.{ZONE}."]
        async with site(listing(), broken=dict.fromkeys(names, code)) as here:
            assert await here.dnsbl.listed_by(JUNK) == ""
            assert await here.dnsbl.listed_by(HONEST) == ""
            assert [zone for zone, _ in here.troubles] == [ZONE]

    run(test)


def test_a_name_server_that_is_silent_lists_nobody_once_the_time_is_over() -> None:
    async def test() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = ["127.0.0.1"], silent.getsockname()[1]
            resolver.timeout = resolver.lifetime = 600.0
            troubles: list[str] = []
            dnsbl = Dnsbl(
                (ZONE,),
                resolver,
                timeout_seconds=0.2,
                clock=asyncio.get_running_loop().time,
                on_trouble=lambda zone, error: troubles.append(zone),
            )
            assert await dnsbl.listed_by(JUNK) == ""
            assert troubles == [ZONE]
            await dnsbl.close()

    run(test)


def test_one_list_in_trouble_leaves_the_other() -> None:
    async def test() -> None:
        broken = {f"4.4.8.8.{ZONE}.": dns.rcode.SERVFAIL}
        records = listing(zone="second.example.test")
        async with site(records, zones=(ZONE, "second.example.test"), broken=broken) as here:
            assert await here.dnsbl.listed_by(JUNK) == "second.example.test"

    run(test)


def test_a_list_that_goes_on_being_in_trouble_is_left_alone_for_a_while() -> None:
    async def test() -> None:
        clients = [f"9.9.9.{number}" for number in range(1, TROUBLES_TO_PAUSE + 2)]
        broken = {f"{reversed_name(client)}.{ZONE}.": dns.rcode.SERVFAIL for client in clients}
        async with site(listing(), broken=broken) as here:
            # The question after 127.0.0.1 is answered well: it is asked first, and counts for nothing then.
            await here.dnsbl.listed_by(HONEST)
            for client in clients[:TROUBLES_TO_PAUSE]:
                await here.dnsbl.listed_by(client)
            before = here.questions()
            assert await here.dnsbl.listed_by(JUNK) == ""
            assert here.questions() == before
            here.now += PAUSE_SECONDS
            assert await here.dnsbl.listed_by(JUNK) == ZONE

    run(test)


def test_an_answer_is_kept_for_its_time_to_live_and_asked_for_again_after() -> None:
    async def test() -> None:
        async with site(listing()) as here:
            for _ in range(3):
                assert await here.dnsbl.listed_by(JUNK) == ZONE
            assert len(here.questions()) == 1
            assert here.dnsbl.known(JUNK) == ZONE
            here.now += 61  # the server's answers live for 60 seconds
            assert here.dnsbl.known(JUNK) is None
            await here.dnsbl.listed_by(JUNK)
            assert len(here.questions()) == 2

    run(test)


class WithAuthority(NameServer):
    """Says with every answer that is none for how long there is nothing: 300 seconds."""

    def answer(self, query: bytes, transport: str) -> bytes:
        response = dns.message.from_wire(super().answer(query, transport))
        if not response.answer:
            soa = dns.rrset.from_text(f"{ZONE}.", 600, "IN", "SOA", "ns.example.test. root.example.test. 1 1 1 1 300")
            response.authority.append(soa)
        return response.to_wire()


@pytest.mark.parametrize("records", [{}, {(f"9.9.9.9.{ZONE}.", "TXT"): ["a name without an address"]}])
def test_that_a_client_is_not_listed_is_kept_as_long_as_the_zone_says(records: Records) -> None:
    async def test() -> None:
        server = WithAuthority(records)
        async with resolver_for(server) as resolver:
            here = _site(resolver, server, (ZONE,))
            assert await here.dnsbl.listed_by(HONEST) == ""
            here.now += 299
            assert here.dnsbl.known(HONEST) == ""
            here.now += 2
            assert here.dnsbl.known(HONEST) is None

    run(test)


def test_those_who_ask_the_same_at_once_share_one_question() -> None:
    async def test() -> None:
        async with site(listing()) as here:
            found = await asyncio.gather(*(here.dnsbl.listed_by(JUNK) for _ in range(20)))
            assert found == [ZONE] * 20
            assert len(here.questions()) == 1

    run(test)


def test_a_client_that_goes_away_does_not_take_the_answer_from_the_others() -> None:
    async def test() -> None:
        async with site(listing()) as here:
            leaving = asyncio.create_task(here.dnsbl.listed_by(JUNK))
            staying = asyncio.create_task(here.dnsbl.listed_by(JUNK))
            while not here.dnsbl._asking:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            leaving.cancel()
            assert await staying == ZONE
            with pytest.raises(asyncio.CancelledError):
                await leaving

    run(test)


def test_who_waits_while_the_service_stops_is_not_listed() -> None:
    async def test() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = ["127.0.0.1"], silent.getsockname()[1]
            here = _site(resolver, NameServer({}), (ZONE,))
            waiting = asyncio.create_task(here.dnsbl.listed_by(JUNK))
            await asyncio.sleep(0.05)
            await here.dnsbl.close()
            assert await waiting == ""

    run(test)


def test_the_answers_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fallback_mx.smtp.dnsbl.MAX_ANSWERS", 5)

    async def test() -> None:
        async with site({}) as here:
            for number in range(1, 20):
                await here.dnsbl.listed_by(f"9.9.9.{number}")
            assert len(here.dnsbl._answers) == 5

    run(test)


def test_the_key_of_a_private_access_is_told_to_nobody() -> None:
    zone = "abcdefghijklmnopqrstuvwxyz.zen.dq.example.net"
    assert public_name(zone) == "zen.dq.example.net"
    assert "abcdef" not in refusal(JUNK, zone)


def test_a_listed_client_is_refused_for_the_time_being() -> None:
    assert refusal(JUNK, ZONE).startswith("451 4.7.1 ")
