"""Where mail goes next, asked of a real (small) name server."""

from __future__ import annotations

import asyncio
import itertools

import dns.rcode
import pytest

from fallback_mx.rules.disposition import Loop, NoConnection
from fallback_mx.smtp.ourselves import Ourselves
from fallback_mx.smtp.route import Destination, MxRoute, NextHop, StaticRoute
from tests.fakes.dns import NameServer, Records, resolver_for

BY_NAME = Ourselves(frozenset({"mx2.example.test"}))
BY_ADDRESS = Ourselves(frozenset(), frozenset({"192.0.2.2"}))
ADDRESSES: Records = {
    ("mail.example.test.", "A"): ["192.0.2.1"],
    ("mail.example.test.", "AAAA"): ["2001:db8::1"],
    ("mx2.example.test.", "A"): ["192.0.2.2"],
    ("mx3.example.test.", "A"): ["192.0.2.3"],
    ("other.example.test.", "A"): ["192.0.2.4"],
    ("alias.example.test.", "A"): ["192.0.2.2"],
}


def mx(*records: str) -> Records:
    return ADDRESSES | {("example.test.", "MX"): list(records)}


def hops(server: NameServer, ourselves: Ourselves = BY_NAME, chances: tuple[float, ...] = (0.5,)) -> list[NextHop]:
    async def run() -> list[NextHop]:
        chance = itertools.cycle(chances).__next__
        async with resolver_for(server) as resolver:
            return list(await MxRoute("example.test", ourselves, resolver, chance).next_hops())

    return asyncio.run(run())


def hosts(*records: str, ourselves: Ourselves = BY_NAME, chances: tuple[float, ...] = (0.5,)) -> list[str]:
    return [hop.host for hop in hops(NameServer(mx(*records)), ourselves, chances)]


def trouble(server: NameServer) -> NoConnection:
    with pytest.raises(NoConnection) as caught:
        hops(server)
    assert caught.value.phase == "route"
    return caught.value


def test_a_configured_route_is_its_hosts_in_order() -> None:
    hops = [NextHop("a.test"), NextHop("b.test", 2525)]
    assert asyncio.run(StaticRoute(hops).next_hops()) == tuple(hops)


def test_the_most_preferred_host_comes_first() -> None:
    assert hosts("20 other.example.test.", "10 mail.example.test.", "30 mx2.example.test.") == [
        "mail.example.test",
        "other.example.test",
    ]


def test_a_host_brings_its_addresses_of_both_families() -> None:
    [hop] = hops(NameServer(mx("10 mail.example.test.")))
    assert (hop.host, hop.port, hop.addresses) == ("mail.example.test", 25, ("2001:db8::1", "192.0.2.1"))


by_name_or_address = pytest.mark.parametrize(
    ("ours", "ourselves"),
    [
        ("mx2.example.test.", BY_NAME),
        ("MX2.Example.TEST.", BY_NAME),
        ("alias.example.test.", BY_ADDRESS),
    ],
    ids=["name", "case", "address"],
)


@by_name_or_address
def test_neither_we_nor_anything_behind_us_is_a_next_hop(ours: str, ourselves: Ourselves) -> None:
    found = hosts("10 mail.example.test.", f"20 {ours}", "30 mx3.example.test.", ourselves=ourselves)
    assert found == ["mail.example.test"]


@by_name_or_address
@pytest.mark.parametrize("chances", [(0.1, 0.9), (0.9, 0.1)])
def test_a_host_as_preferred_as_we_are_is_no_next_hop(
    ours: str, ourselves: Ourselves, chances: tuple[float, ...]
) -> None:
    records = ("10 mail.example.test.", f"20 {ours}", "20 mx3.example.test.")
    assert hosts(*records, ourselves=ourselves, chances=(0.5, *chances)) == ["mail.example.test"]


def test_equals_come_in_an_order_of_chance() -> None:
    records = ("10 mail.example.test.", "10 other.example.test.")
    assert {tuple(hosts(*records, chances=chances)) for chances in [(0.1, 0.9), (0.9, 0.1)]} == {
        ("mail.example.test", "other.example.test"),
        ("other.example.test", "mail.example.test"),
    }


def test_a_domain_without_mx_is_its_own_next_hop() -> None:
    [hop] = hops(NameServer({("example.test.", "A"): ["192.0.2.9"]}))
    assert (hop.host, hop.addresses) == ("example.test", ("192.0.2.9",))


def test_a_host_without_an_address_leaves_the_others() -> None:
    assert hosts("10 gone.example.test.", "20 mail.example.test.") == ["mail.example.test"]


def listening_at(*endpoints: tuple[str, int], name: str = "nobody.test") -> Ourselves:
    return Ourselves(frozenset({name}), listen=endpoints)


LOCAL: Records = {
    ("mail.example.test.", "A"): ["192.0.2.1"],
    ("here.example.test.", "A"): ["127.0.0.1"],
    ("here6.example.test.", "AAAA"): ["::1"],
    ("behind.example.test.", "A"): ["192.0.2.3"],
}


def hosts_at(port: int, ourselves: Ourselves, *records: str) -> list[str]:
    async def run() -> list[str]:
        server = NameServer(LOCAL | {("example.test.", "MX"): list(records)})
        async with resolver_for(server) as resolver:
            route = MxRoute("example.test", ourselves, resolver, lambda: 0.5, port)
            return [hop.host for hop in await route.next_hops()]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("here", "endpoint"),
    [
        ("here.example.test.", ("127.0.0.1", 2525)),
        ("here.example.test.", ("0.0.0.0", 2525)),
        ("here6.example.test.", ("::1", 2525)),
        ("here6.example.test.", ("::", 2525)),
    ],
)
def test_a_host_with_an_address_that_we_listen_at_is_ourselves(here: str, endpoint: tuple[str, int]) -> None:
    records = ("10 mail.example.test.", f"20 {here}", "30 behind.example.test.")
    assert hosts_at(2525, listening_at(endpoint), *records) == ["mail.example.test"]


@pytest.mark.parametrize(
    "endpoint", [("127.0.0.1", 25), ("127.0.0.2", 2525), ("::", 2525), ("localhost", 2525)], ids=str
)
def test_another_port_or_address_of_this_machine_is_somebody_else(endpoint: tuple[str, int]) -> None:
    records = ("10 mail.example.test.", "20 here.example.test.", "30 behind.example.test.")
    assert len(hosts_at(2525, listening_at(endpoint), *records)) == 3


def test_listening_at_every_address_makes_no_other_machines_address_ours() -> None:
    assert hosts_at(25, listening_at(("0.0.0.0", 25)), "10 mail.example.test.") == ["mail.example.test"]


@pytest.mark.parametrize(("port", "found"), [(25, []), (2525, []), (2626, ["alias.example.test"])])
def test_another_name_for_the_address_of_our_name_is_ourselves_where_we_can_be_reached(
    port: int, found: list[str]
) -> None:
    """Port 25 may be handed on to the one where we listen; behind another there may be another server."""

    async def run() -> list[str]:
        server = NameServer(mx("10 alias.example.test."))
        async with resolver_for(server) as resolver:
            ourselves = listening_at(("127.0.0.9", 2525), name="mx2.example.test")
            route = MxRoute("example.test", ourselves, resolver, lambda: 0.5, port)
            return [hop.host for hop in await route.next_hops()]

    if found:
        assert asyncio.run(run()) == found
    else:
        with pytest.raises(Loop):
            asyncio.run(run())


@pytest.mark.parametrize(
    "records",
    [
        mx("10 mx2.example.test."),
        mx("10 mx2.example.test.", "20 mail.example.test."),
        mx("10 alias.example.test."),
        mx("10 mx2.example.test.", "10 mail.example.test."),
        {("mx2.example.test.", "A"): ["192.0.2.2"], ("example.test.", "MX"): ["5 mx2.example.test."]},
    ],
)
def test_where_nobody_comes_before_ourselves_there_is_a_loop_and_no_route(records: Records) -> None:
    failure = trouble(NameServer(records))
    assert isinstance(failure, Loop)
    assert "name nobody before ourselves" in failure.detail
    assert "write the primary's own host" in failure.detail


def test_a_host_before_ourselves_whose_address_cannot_be_had_makes_no_loop() -> None:
    """DNS trouble comes and goes: it must not raise the alarm of a wrong configuration."""
    for failure in (
        trouble(NameServer(mx("10 gone.example.test.", "20 mx2.example.test."))),
        trouble(NameServer(mx("10 mail.example.test.", "20 mx2.example.test."),
                           broken={"mail.example.test.": dns.rcode.SERVFAIL})),
    ):  # fmt: skip
        assert not isinstance(failure, Loop)
        assert "no next hop before ourselves has an address" in failure.detail


def test_a_destination_by_hosts_is_written_as_its_hosts() -> None:
    hops = (NextHop("a.test"), NextHop("2001:db8::1", 2525))
    assert str(Destination(hops)) == "a.test:25, [2001:db8::1]:2525"
    assert str(Destination(domain="example.test")) == "the MX of example.test"


def test_a_domain_that_takes_no_mail_has_no_route() -> None:
    """RFC 7505."""
    assert "takes no mail" in trouble(NameServer(mx("0 ."))).detail


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NXDOMAIN])
def test_dns_trouble_is_temporary(rcode: dns.rcode.Rcode) -> None:
    trouble(NameServer(mx("10 mail.example.test."), broken={"example.test.": rcode}))


def test_no_answer_is_temporary() -> None:
    trouble(NameServer(mx("10 mail.example.test."), silent=frozenset({"example.test."})))


def test_an_answer_that_somebody_else_has_made_up_is_not_believed() -> None:
    server = NameServer(mx("10 mail.example.test."), forged={("example.test.", "MX"): ["1 other.example.test."]})
    assert [hop.host for hop in hops(server)] == ["mail.example.test"]


def test_a_truncated_answer_is_asked_for_again_by_tcp() -> None:
    server = NameServer(mx("10 mail.example.test."), truncated=frozenset({"example.test."}))
    assert [hop.host for hop in hops(server)] == ["mail.example.test"]
    assert ("example.test.", "MX", "tcp") in server.asked
