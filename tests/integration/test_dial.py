"""From a next hop to a courier: how far a connection got, and what TLS policies make of it (FAULTS 29, 30)."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
import trustme
import uvloop

from fallback_mx.rules.disposition import NoConnection, Reply
from fallback_mx.smtp.dial import DialSettings, connect, connect_first
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Act, Answer, Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.parcels import TRACE, MemoryParcel
from tests.fakes.raw_server import Talk, black_hole, closed_port, raw_server

AUTHORITY = trustme.CA()
QUICK = Timeouts(connect=0.2, banner=0.2, command=0.2, data=5, block=5, final=5, quit=1)


def server_context(*names: str, expired: bool = False) -> ssl.SSLContext:
    until = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
    since = datetime(2019, 1, 1, tzinfo=UTC) if expired else None
    certificate = AUTHORITY.issue_cert(*names, not_after=until, not_before=since)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusting_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def verified() -> DialSettings:
    return DialSettings("mx2.test", tls=TlsPolicy.VERIFY, tls_context=trusting_context())


def plain(policy: TlsPolicy) -> DialSettings:
    return DialSettings("mx2.test", tls=policy)


async def _greeting(sink: Sink, settings: DialSettings) -> Greeting:
    """Connect, deliver one message, leave; what was known of the server."""
    await sink.start()
    try:
        courier = await connect(NextHop("127.0.0.1", sink.port), settings)
        delivery = await courier.deliver(MemoryParcel(b"hello\r\n"))
        assert [result.code for result in delivery.results if isinstance(result, Reply)] == [250]
        await courier.quit()
        return courier.greeting
    finally:
        await sink.stop()


def greeting(sink: Sink, settings: DialSettings) -> Greeting:
    return asyncio.run(_greeting(sink, settings))


def failure(sink: Sink, settings: DialSettings) -> NoConnection:
    with pytest.raises(NoConnection) as caught:
        asyncio.run(_greeting(sink, settings))
    return caught.value


# Phases ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "phase", "detail"),
    [
        ({"banner": "421 4.3.2 Too many connections"}, "banner", "421 4.3.2 Too many connections"),
        ({"banner": "554 5.3.2 No SMTP here"}, "banner", "554 5.3.2 No SMTP here"),
        ({"banner": Act.DROP}, "banner", "closed the connection"),
        ({"banner": Act.SILENT}, "banner", "timeout"),
        ({"banner": b"HTTP/1.1 400 Bad Request\r\n"}, "banner", "HTTP/1.1 400 Bad Request"),
        ({"ehlo": "421 4.3.2 Going away"}, "ehlo", "421 4.3.2 Going away"),
        ({"ehlo": "451 4.3.0 Not now"}, "ehlo", "451 4.3.0 Not now"),
        ({"ehlo": Act.DROP}, "ehlo", "closed the connection"),
        ({"ehlo": Act.SILENT}, "ehlo", "timeout"),
        ({"ehlo": "502 No", "helo": "502 No"}, "ehlo", "502 No"),
    ],
)
def test_a_failure_names_its_phase_and_what_was_said(replies: dict[str, Answer], phase: str, detail: str) -> None:
    error = failure(Sink(replies=replies), DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=QUICK))
    assert error.phase == phase
    assert detail in error.detail


def test_a_refused_connection_fails_in_phase_connect() -> None:
    with closed_port() as port, pytest.raises(NoConnection) as caught:
        asyncio.run(connect(NextHop("127.0.0.1", port), plain(TlsPolicy.NONE)))
    assert caught.value.phase == "connect"
    assert "refused" in caught.value.detail


def test_a_black_hole_fails_in_phase_connect() -> None:
    with black_hole() as port, pytest.raises(NoConnection) as caught:
        asyncio.run(connect(NextHop("127.0.0.1", port), DialSettings("mx2.test", timeouts=QUICK)))
    assert caught.value.phase == "connect"
    assert "timeout" in caught.value.detail


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b.test", "x" * 70 + ".test"])
def test_a_host_that_has_no_address_fails_in_phase_route(host: str) -> None:
    with pytest.raises(NoConnection) as caught:
        asyncio.run(connect(NextHop(host), plain(TlsPolicy.NONE)))
    assert caught.value.phase == "route"
    assert host in caught.value.detail


def test_an_endless_banner_is_cut_off() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-" + b"x" * 5000 + b"\r\n")
            await writer.drain()

    assert _phase_with(talk) == "banner"


def _phase_with(talk: Talk) -> str:
    async def run() -> str:
        async with raw_server(talk) as port:
            with pytest.raises(NoConnection) as caught:
                await connect(NextHop("127.0.0.1", port), plain(TlsPolicy.NONE))
            return caught.value.phase

    return asyncio.run(run())


@pytest.mark.parametrize(
    "replies",
    [
        {"banner": b"220 sink.test\r\n250-sink.test\r\n250 EVIL\r\n", "ehlo": "550 Go away"},
        {"ehlo": b"250-sink.test\r\n250 STARTTLS\r\n220 Go on\r\n"},
        {"banner": b"354 Go on\r\n"},
    ],
    ids=["with the greeting", "with the answer to EHLO", "no answer"],
)
def test_a_reply_that_comes_too_early_is_never_taken_for_the_next_ones(replies: dict[str, Answer]) -> None:
    """FAULTS 20."""
    sink = Sink(replies=replies)
    error = failure(sink, plain(TlsPolicy.OPPORTUNISTIC))
    assert error.phase in {"banner", "ehlo"}
    assert "a reply that nothing asked for" in error.detail or "is no reply to the greeting" in error.detail
    assert sink.messages == []


def test_control_characters_of_a_server_are_escaped() -> None:
    error = failure(Sink(replies={"banner": b"554 \x1b[31mred\xff\x00\r\n"}), plain(TlsPolicy.NONE))
    assert error.detail == r"554 \x1b[31mred\xff\x00"


def test_addresses_are_tried_in_turn() -> None:
    async def run() -> None:
        sink = Sink()
        await sink.start()
        # Nobody listens on 127.0.0.2.
        hop = NextHop("mail.test", sink.port, ("127.0.0.2", "127.0.0.1"))
        courier = await connect(hop, plain(TlsPolicy.NONE))
        await courier.quit()
        await sink.stop()

    asyncio.run(run())


def test_hosts_are_tried_in_turn() -> None:
    async def run() -> None:
        first, second = Sink(replies={"banner": "421 4.3.2 Busy"}), Sink()
        await first.start()
        await second.start()
        hops = [NextHop("127.0.0.1", first.port), NextHop("127.0.0.1", second.port)]
        courier = await connect_first(hops, plain(TlsPolicy.NONE))
        await courier.quit()
        await first.stop()
        await second.stop()
        assert (first.connection_count, second.connection_count) == (1, 1)

    asyncio.run(run())


# TLS ---------------------------------------------------------------------------------------------------------------


def test_opportunistic_encrypts_with_whatever_certificate_there_is() -> None:
    sink = Sink(tls=server_context("another.test", expired=True))
    met = greeting(sink, plain(TlsPolicy.OPPORTUNISTIC))
    assert met.tls is not None
    assert met.tls.startswith("TLSv1")
    assert met.tls_error is None
    assert sink.connection_count == 1


def test_opportunistic_speaks_in_clear_where_nothing_else_is_offered() -> None:
    met = greeting(Sink(), plain(TlsPolicy.OPPORTUNISTIC))
    assert met.tls is None
    assert met.tls_error is None


def broken_tls(how: Answer) -> Sink:
    """A server that offers STARTTLS, which then fails: by its reply, or (None) in the handshake."""
    without_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return Sink(tls=without_certificate, replies={"starttls": how})


@pytest.mark.parametrize("how", ["454 4.7.0 TLS not available", Act.DROP, None])
def test_opportunistic_falls_back_to_clear_with_a_record(how: Answer) -> None:
    sink = broken_tls(how)
    met = greeting(sink, plain(TlsPolicy.OPPORTUNISTIC))
    assert met.tls is None
    assert met.tls_error
    assert sink.messages[0].content == TRACE + b"hello\r\n"


@pytest.mark.parametrize("how", ["454 4.7.0 TLS not available", Act.DROP, None])
def test_require_never_falls_back_to_clear(how: Answer) -> None:
    sink = broken_tls(how)
    assert failure(sink, plain(TlsPolicy.REQUIRE)).phase == "starttls"
    assert sink.messages == []
    assert sink.connection_count == 1


@pytest.mark.parametrize("policy", [TlsPolicy.REQUIRE, TlsPolicy.VERIFY])
def test_stripped_starttls_is_a_failure_where_tls_is_demanded(policy: TlsPolicy) -> None:
    sink = Sink()
    error = failure(sink, plain(policy))
    assert error.phase == "starttls"
    assert "does not offer STARTTLS" in error.detail
    assert sink.messages == []


def test_require_takes_any_certificate() -> None:
    assert greeting(Sink(tls=server_context("another.test", expired=True)), plain(TlsPolicy.REQUIRE)).tls


def test_verify_takes_the_right_certificate() -> None:
    assert greeting(Sink(tls=server_context("127.0.0.1")), verified()).tls


@pytest.mark.parametrize(
    ("names", "expired", "reason"),
    [(("another.test",), False, "mismatch"), (("127.0.0.1",), True, "expired")],
)
def test_verify_refuses_a_wrong_certificate(names: tuple[str, ...], expired: bool, reason: str) -> None:
    sink = Sink(tls=server_context(*names, expired=expired))
    error = failure(sink, verified())
    assert error.phase == "starttls"
    assert reason in error.detail
    assert sink.messages == []


def test_verify_refuses_an_unknown_authority() -> None:
    assert failure(Sink(tls=server_context("127.0.0.1")), plain(TlsPolicy.VERIFY)).phase == "starttls"


def test_none_speaks_in_clear_where_tls_is_offered() -> None:
    assert greeting(Sink(tls=server_context("127.0.0.1")), plain(TlsPolicy.NONE)).tls is None


def test_what_is_offered_only_in_clear_counts_no_more_under_tls() -> None:
    """RFC 3207, section 4.2: a man in the middle could have offered it."""
    in_clear = ["250-sink.test\r\n250-STARTTLS\r\n250 PIPELINING"]
    replies = {"ehlo": lambda *_: in_clear.pop() if in_clear else "250-sink.test\r\n250 8BITMIME"}
    sink = Sink(tls=server_context("127.0.0.1"), replies=replies)
    assert greeting(sink, plain(TlsPolicy.OPPORTUNISTIC)).extensions == {"8bitmime"}


def test_replies_sent_together_with_the_one_to_starttls_are_thrown_away() -> None:
    """FAULTS 29, our side: what came in clear must not be taken for the first replies under TLS."""
    sink = Sink(tls=server_context("127.0.0.1"), replies={"starttls": b"220 Go on\r\n250-evil.test\r\n250 EVIL\r\n"})
    met = greeting(sink, plain(TlsPolicy.OPPORTUNISTIC))
    assert met.tls is not None
    assert "evil" not in met.extensions


def test_tls_works_on_uvloop() -> None:
    sink = Sink(tls=server_context("127.0.0.1"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_greeting(sink, verified())).tls
