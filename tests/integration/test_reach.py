"""Which addresses of a host are tried, in which order, and from which address of ours."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fallback_mx.rules.disposition import Loop, NoConnection
from fallback_mx.smtp.dial import DialSettings, connect, connect_first
from fallback_mx.smtp.reach import AddressFamily, Source, places
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Sink
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.raw_server import closed_port

BOTH = NextHop("mail.test", 25, ("127.0.0.1", "::1", "127.0.0.2"))


def order(family: AddressFamily, hop: NextHop = BOTH) -> list[str]:
    return [place.address for place in asyncio.run(places(hop, Source(family), 5))]


@pytest.mark.parametrize(
    ("family", "addresses"),
    [
        (AddressFamily.ANY, ["127.0.0.1", "::1", "127.0.0.2"]),
        (AddressFamily.IPV4, ["127.0.0.1", "127.0.0.2"]),
        (AddressFamily.IPV6, ["::1"]),
        (AddressFamily.PREFER_IPV4, ["127.0.0.1", "127.0.0.2", "::1"]),
        (AddressFamily.PREFER_IPV6, ["::1", "127.0.0.1", "127.0.0.2"]),
    ],
)
def test_a_family_alone_or_first_and_otherwise_the_order_stays(family: AddressFamily, addresses: list[str]) -> None:
    assert order(family) == addresses


def test_a_host_without_an_address_of_the_family_has_no_route() -> None:
    with pytest.raises(NoConnection) as caught:
        order(AddressFamily.IPV6, NextHop("mail.test", 25, ("127.0.0.1",)))
    assert caught.value.phase == "route"
    assert caught.value.detail == "mail.test has no address that may be used (address_family = ipv6)"


def plain(**how: object) -> DialSettings:
    return DialSettings("mx2.test", tls=TlsPolicy.NONE, **how)  # type: ignore[arg-type]


def come_from(source: Source, host: str) -> str:
    """Connect to a server at `host`; the address that it saw us come from."""
    seen: list[str] = []

    async def run() -> None:
        def banner(session, _argument) -> None:
            seen.append(session._transport.get_extra_info("peername")[0])

        sink = Sink(replies={"banner": banner})
        await sink.start(host)
        try:
            await (await connect(NextHop(host, sink.port), plain(source=source))).quit()
        finally:
            await sink.stop()

    asyncio.run(run())
    return seen[0]


def test_connections_come_from_the_address_of_their_family() -> None:
    source = Source(ipv4="127.0.0.5", ipv6="::1")
    assert come_from(source, "127.0.0.1") == "127.0.0.5"
    assert come_from(source, "::1") == "::1"


def test_a_family_without_an_address_of_its_own_comes_from_wherever_the_system_says() -> None:
    assert come_from(Source(ipv6="::1"), "127.0.0.1") == "127.0.0.1"


def test_an_address_that_this_machine_has_not_is_our_own_trouble() -> None:
    with pytest.raises(NoConnection) as caught:
        come_from(Source(ipv4="192.0.2.77"), "127.0.0.1")
    assert (caught.value.phase, caught.value.is_ours) == ("ours", True)
    assert caught.value.detail == "cannot come from source_address 192.0.2.77: cannot assign requested address"


async def _with(sinks: list[Sink], hops, settings: DialSettings) -> str:
    for sink in sinks:
        await sink.start()
    try:
        courier = await connect_first(hops(), settings)
        await courier.quit()
        return courier.greeting.host
    finally:
        for sink in sinks:
            await sink.stop()


def test_an_address_whose_server_will_not_talk_leaves_the_hosts_others() -> None:
    busy, well = Sink(replies={"banner": "421 4.3.2 Busy"}), Sink()

    async def run() -> None:
        await busy.start("127.0.0.2")
        await well.start("127.0.0.1", busy.port)
        try:
            courier = await connect(NextHop("mail.test", busy.port, ("127.0.0.2", "127.0.0.1")), plain())
            await courier.quit()
        finally:
            await busy.stop()
            await well.stop()

    asyncio.run(run())
    assert (busy.connection_count, well.connection_count) == (1, 1)


# Ourselves, by the greeting -------------------------------------------------------------------------------------------

OURSELVES = [
    {"banner": "220 mx2.test ESMTP"},
    {"banner": "220 MX2.Test. ready"},
    {"ehlo": "250-mx2.test\r\n250 PIPELINING"},
    {"ehlo": "502 What?", "helo": "250 mx2.test"},
]


@pytest.mark.parametrize("replies", OURSELVES)
def test_a_host_that_greets_us_with_our_own_name_is_ourselves(replies: dict[str, str]) -> None:
    """FAULTS 32."""
    sink = Sink(replies=replies)
    with pytest.raises(Loop) as caught:
        asyncio.run(_with([sink], lambda: [NextHop("127.0.0.1", sink.port)], plain()))
    assert (caught.value.phase, caught.value.is_ours) == ("route", True)
    assert "our own name, mx2.test" in caught.value.detail


@pytest.mark.parametrize("banner", ["220 mx2.test.example ESMTP", "220 hello mx2.test", "220 xmx2.test"])
def test_a_name_that_only_looks_like_ours_is_another(banner: str) -> None:
    sink = Sink(replies={"banner": banner})
    assert asyncio.run(_with([sink], lambda: [NextHop("127.0.0.1", sink.port)], plain()))


def test_nothing_behind_ourselves_is_tried() -> None:
    us, behind = Sink(replies=OURSELVES[0]), Sink()
    with pytest.raises(Loop):
        asyncio.run(
            _with([us, behind], lambda: [NextHop("127.0.0.1", us.port), NextHop("127.0.0.1", behind.port)], plain())
        )
    assert behind.connection_count == 0


def test_where_others_come_before_us_it_is_they_that_do_not_answer_and_no_loop() -> None:
    us, behind = Sink(replies=OURSELVES[0]), Sink()
    with closed_port() as port, pytest.raises(NoConnection) as caught:
        asyncio.run(
            _with(
                [us, behind],
                lambda: [NextHop("127.0.0.1", each) for each in (port, us.port, behind.port)],
                plain(),
            )
        )
    assert not isinstance(caught.value, Loop)
    assert (caught.value.phase, "refused" in caught.value.detail) == ("connect", True)
    assert (us.connection_count, behind.connection_count) == (1, 0)


def test_the_other_addresses_of_a_host_that_is_ourselves_are_not_tried() -> None:
    us = Sink(replies=OURSELVES[0])

    async def run() -> None:
        await us.start("127.0.0.1")
        try:
            await connect(NextHop("mail.test", us.port, ("127.0.0.1", "127.0.0.1", "127.0.0.2")), plain())
        finally:
            await us.stop()

    with pytest.raises(Loop):
        asyncio.run(run())
    assert us.connection_count == 1


def test_what_the_server_said_before_a_fault_of_ours_is_what_is_told() -> None:
    async def run() -> None:
        sink = Sink(replies={"banner": "421 4.3.2 Busy"})
        await sink.start("::1")
        try:
            hop = NextHop("mail.test", sink.port, ("::1", "127.0.0.1"))
            await connect(hop, plain(source=Source(ipv4="192.0.2.77")))
        finally:
            await sink.stop()

    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with pytest.raises(NoConnection) as caught:
        asyncio.run(run())
    assert str(caught.value) == "banner: 421 4.3.2 Busy"
