"""Whose certificate is believed: authorities and names of one's own, pinned keys, and TLSA records."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import replace
from pathlib import Path

import dns.rcode
import pytest
import trustme
import uvloop

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.dial import DialSettings, connect
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.ourselves import Ourselves
from fallback_mx.smtp.route import MxRoute, NextHop, validating
from fallback_mx.smtp.sink import Sink
from fallback_mx.smtp.tls_policy import TlsPolicy, Trust
from tests.fakes.dns import NameServer, Records, resolver_for
from tests.fakes.identities import AUTHORITY, INTERMEDIATE, Identity, tlsa, write_authority
from tests.fakes.parcels import MemoryParcel

HOST = "mail.example.test"
STRANGER = trustme.CA()


async def delivered(sink: Sink, settings: DialSettings, hop: NextHop | None = None) -> Greeting:
    """Deliver one message; what was known of the server. Nothing may reach it where that fails."""
    await sink.start()
    try:
        courier = await connect(replace(hop or NextHop(HOST), port=sink.port, addresses=("127.0.0.1",)), settings)
        await courier.deliver(MemoryParcel(b"hello\r\n"))
        await courier.quit()
        return courier.greeting
    except NoConnection:
        assert not any(line.startswith(b"MAIL") for line in sink.commands)
        raise
    finally:
        await sink.stop()


def trusting(**what: object) -> DialSettings:
    return DialSettings("mx2.test", tls=TlsPolicy.VERIFY, trust=Trust(**what))  # type: ignore[arg-type]


def met(identity: Identity, settings: DialSettings) -> Greeting:
    return asyncio.run(delivered(Sink(tls=identity.context), settings))


def refusal(identity: Identity, settings: DialSettings) -> NoConnection:
    with pytest.raises(NoConnection) as caught:
        met(identity, settings)
    return caught.value


# Authorities and names ----------------------------------------------------------------------------------------------


def test_an_authority_of_ones_own_is_believed(tmp_path: Path) -> None:
    assert met(Identity(HOST), trusting(ca_file=write_authority(tmp_path))).tls


def test_another_authority_is_not_believed(tmp_path: Path) -> None:
    failure = refusal(Identity(HOST), trusting(ca_file=write_authority(tmp_path, STRANGER)))
    assert (failure.phase, failure.is_ours) == ("starttls", False)
    assert "certificate verify failed" in failure.detail


def test_the_system_knows_nothing_of_an_authority_of_ones_own() -> None:
    assert refusal(Identity(HOST), trusting()).phase == "starttls"


def test_an_authority_that_was_renewed_is_read_again(tmp_path: Path) -> None:
    settings = trusting(ca_file=write_authority(tmp_path, STRANGER))
    assert refusal(Identity(HOST), settings).phase == "starttls"
    os.utime(write_authority(tmp_path), ns=(1, 1))
    assert met(Identity(HOST), settings).tls


def test_the_name_to_expect_can_be_another_than_the_hosts(tmp_path: Path) -> None:
    authority = write_authority(tmp_path)
    assert met(Identity("real.example.test"), trusting(ca_file=authority, name="real.example.test")).tls
    assert "mismatch" in refusal(Identity(HOST), trusting(ca_file=authority, name="real.example.test")).detail


@pytest.mark.parametrize("settings", [trusting(), trusting(name=HOST)])
def test_the_server_is_told_which_name_is_expected(settings: DialSettings) -> None:
    asked: list[str | None] = []
    identity = Identity(HOST)
    identity.context.sni_callback = lambda _socket, name, _context: asked.append(name)
    refusal(identity, settings)
    assert asked == [HOST]


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "no such file"), ("", "no PEM certificates"), ("certificate", "no PEM certificates")]
)
def test_an_authority_that_cannot_be_read_is_our_own_trouble(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "authority.pem"
    if text is not None:
        path.write_text(text)
    failure = refusal(Identity(HOST), trusting(ca_file=path))
    assert (failure.phase, failure.is_ours) == ("ours", True)
    assert failure.detail.startswith(f"tls_ca_file {path}: ")
    assert reason in failure.detail


# Pins --------------------------------------------------------------------------------------------------------------


def test_a_pinned_key_is_enough_whatever_name_date_and_authority_say() -> None:
    identity = Identity("another.test", expired=True, issuer=STRANGER)
    other = Identity(HOST)
    assert met(identity, trusting(pins=(other.pin, identity.pin))).tls


def test_another_key_is_refused_and_shown_as_it_could_be_pinned() -> None:
    identity = Identity(HOST)
    failure = refusal(identity, trusting(pins=(Identity(HOST).pin,)))
    assert failure.phase == "starttls"
    assert failure.detail == f"its key is not among tls_pins: it is {identity.pin}"


def test_pins_are_checked_on_uvloop_too() -> None:
    identity = Identity(HOST)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(delivered(Sink(tls=identity.context), trusting(pins=(identity.pin,)))).tls


# DANE --------------------------------------------------------------------------------------------------------------


def dane(records: Records, sink: Sink, *, hop: NextHop | None = None, of_port: bool = True, **more: object) -> Greeting:
    """`records` are those of the host, by type; the sink's port is known when it has started."""

    async def run() -> Greeting:
        server = NameServer({}, **({"is_validating": True} | more))  # type: ignore[arg-type]
        original = sink.start

        async def start() -> None:
            await original()
            server.records = {(name.format(sink.port), kind): data for (name, kind), data in records.items()}
            server.broken = {name.format(sink.port): code for name, code in server.broken.items()}
            server.insecure = frozenset(name.format(sink.port) for name in server.insecure)

        sink.start = start  # type: ignore[method-assign]
        async with resolver_for(server) as resolver:
            settings = DialSettings("mx2.test", tls=TlsPolicy.DANE, resolver=resolver)
            return await delivered(sink, settings, hop)

    return asyncio.run(run())


def records(*of: str) -> Records:
    return {("_{}._tcp.mail.example.test.", "TLSA"): list(of)}


def dane_refusal(records: Records, sink: Sink, **more: object) -> NoConnection:
    with pytest.raises(NoConnection) as caught:
        dane(records, sink, **more)  # type: ignore[arg-type]
    return caught.value


KINDS = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


@pytest.mark.parametrize(("selector", "matching"), KINDS)
def test_the_certificate_that_a_record_names_is_believed_whatever_its_name_and_date(
    selector: int, matching: int
) -> None:
    identity = Identity("another.test", expired=True, issuer=STRANGER)
    sink = Sink(tls=identity.context)
    assert dane(records(tlsa(3, selector, matching, identity.certificate)), sink).tls
    assert sink.connection_count == 1


@pytest.mark.parametrize(("selector", "matching"), KINDS)
def test_another_certificate_than_the_record_names_is_refused(selector: int, matching: int) -> None:
    told = records(tlsa(3, selector, matching, Identity(HOST).certificate))
    failure = dane_refusal(told, Sink(tls=Identity(HOST).context))
    assert (failure.phase, failure.detail) == (
        "starttls",
        "no certificate that it sent matches the TLSA records of mail.example.test",
    )


def test_one_record_that_matches_is_enough() -> None:
    old, new = Identity(HOST), Identity(HOST)
    told = records(tlsa(3, 1, 1, old.certificate), tlsa(3, 1, 1, new.certificate))
    assert dane(told, Sink(tls=old.context)).tls


@pytest.mark.parametrize(("selector", "matching"), KINDS)
def test_an_authority_that_a_record_names_is_believed_for_the_hosts_name(selector: int, matching: int) -> None:
    identity = Identity(HOST)
    told = records(tlsa(2, selector, matching, identity.chain[1]))
    assert dane(told, Sink(tls=identity.context)).tls


def test_an_authority_that_a_record_holds_whole_need_not_be_sent() -> None:
    identity = Identity(HOST)
    authority = ssl.PEM_cert_to_DER_cert(AUTHORITY.cert_pem.bytes().decode())
    assert dane(records(tlsa(2, 0, 0, authority)), Sink(tls=identity.context)).tls


@pytest.mark.parametrize(
    "identity", [Identity("another.test"), Identity(HOST, expired=True)], ids=["another name", "expired"]
)
def test_an_authority_that_a_record_names_does_not_speak_for_other_names_and_dates(identity: Identity) -> None:
    failure = dane_refusal(records(tlsa(2, 1, 1, identity.chain[1])), Sink(tls=identity.context))
    assert failure.phase == "starttls"
    assert "certificate verify failed" in failure.detail


def test_another_authority_than_the_record_names_is_refused() -> None:
    identity = Identity(HOST)
    stranger = ssl.PEM_cert_to_DER_cert(STRANGER.cert_pem.bytes().decode())
    failure = dane_refusal(records(tlsa(2, 1, 1, stranger)), Sink(tls=identity.context))
    assert "no certificate that it sent matches" in failure.detail


def test_the_servers_own_certificate_is_no_authority() -> None:
    identity = Identity(HOST)
    failure = dane_refusal(records(tlsa(2, 1, 1, identity.certificate)), Sink(tls=identity.context))
    assert "no certificate that it sent matches" in failure.detail


def test_a_chain_that_only_shows_the_authority_is_not_believed() -> None:
    """Anybody can send a certificate of an authority along with one of another."""
    forged = Identity(HOST, issuer=STRANGER)
    authority = ssl.PEM_cert_to_DER_cert(INTERMEDIATE.cert_pem.bytes().decode())
    forged.context = _context_showing(STRANGER, authority)
    failure = dane_refusal(records(tlsa(2, 1, 1, authority)), Sink(tls=forged.context))
    assert failure.phase == "starttls"
    assert "certificate verify failed" in failure.detail


def _context_showing(issuer: trustme.CA, more: bytes) -> ssl.SSLContext:
    issued = issuer.issue_cert(HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(
        issued.private_key_and_cert_chain_pem.bytes() + ssl.DER_cert_to_PEM_cert(more).encode()
    ).tempfile() as path:
        context.load_cert_chain(path)
    return context


UNUSABLE = ["0 1 1 " + "ab" * 32, "1 1 1 " + "ab" * 32, "3 2 1 " + "ab" * 32, "3 1 3 " + "ab" * 32]


def test_records_that_cannot_be_used_demand_tls_with_any_certificate() -> None:
    """RFC 7672, section 2.2."""
    assert dane(records(*UNUSABLE), Sink(tls=Identity("another.test").context)).tls
    assert "does not offer STARTTLS" in dane_refusal(records(*UNUSABLE), Sink()).detail


def test_records_that_cannot_be_used_leave_the_others_in_force() -> None:
    told = records(*UNUSABLE, tlsa(3, 1, 1, Identity(HOST).certificate))
    assert "no certificate" in dane_refusal(told, Sink(tls=Identity(HOST).context)).detail


@pytest.mark.parametrize(
    "told",
    [{("mail.example.test.", "A"): ["127.0.0.1"]}, {("_{}._tcp.mail.example.test.", "TXT"): ["x"]}],
    ids=["no such name", "no such record"],
)
def test_a_host_that_surely_has_no_records_is_spoken_to_as_with_opportunistic(told: Records) -> None:
    assert dane(told, Sink(tls=Identity("another.test").context)).tls
    assert dane(told, Sink()).tls is None


def test_stripped_starttls_is_a_failure_where_there_are_records() -> None:
    failure = dane_refusal(records(tlsa(3, 1, 1, Identity(HOST).certificate)), Sink())
    assert (failure.phase, failure.detail) == ("starttls", "the server does not offer STARTTLS")


@pytest.mark.parametrize("kind", ["records", "none"])
def test_an_answer_that_nobody_has_validated_is_not_believed(kind: str) -> None:
    identity = Identity(HOST)
    told = records(tlsa(3, 1, 1, identity.certificate)) if kind == "records" else {}
    sink = Sink(tls=identity.context)
    failure = dane_refusal(told, sink, is_validating=False)
    assert (failure.phase, failure.is_ours) == ("route", True)
    assert "is not validated" in failure.detail
    assert "/etc/resolv.conf" in failure.detail
    assert "tls = verify" in failure.detail
    assert sink.connection_count == 0


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_name_server_in_trouble_or_a_bogus_answer_defers(rcode: dns.rcode.Rcode) -> None:
    """FAULTS 31: a resolver says SERVFAIL of what does not validate; no downgrade."""
    identity = Identity(HOST)
    sink = Sink(tls=identity.context)
    name = "_{}._tcp.mail.example.test."
    failure = dane_refusal(records(tlsa(3, 1, 1, identity.certificate)), sink, broken={name: rcode})
    assert failure.phase == "route"
    assert sink.connection_count == 0


def test_a_truncated_answer_is_asked_for_again_by_tcp() -> None:
    async def run() -> Greeting:
        identity = Identity(HOST)
        sink = Sink(tls=identity.context)
        await sink.start()
        name = f"_{sink.port}._tcp.mail.example.test."
        server = NameServer(
            {(name, "TLSA"): [tlsa(3, 0, 0, identity.certificate)]}, is_validating=True, truncated=frozenset({name})
        )
        async with resolver_for(server) as resolver:
            settings = DialSettings("mx2.test", tls=TlsPolicy.DANE, resolver=resolver)
            courier = await connect(NextHop(HOST, sink.port, ("127.0.0.1",)), settings)
            await courier.quit()
        await sink.stop()
        assert (name, "TLSA", "tcp") in server.asked
        return courier.greeting

    assert asyncio.run(run()).tls


def test_a_host_that_a_forged_mx_record_could_have_named_is_not_believed() -> None:
    """RFC 7672, section 2.2.1: who can forge the MX record can name a host of his own, with records of its own."""
    identity = Identity(HOST)
    sink = Sink(tls=identity.context)
    told = records(tlsa(3, 1, 1, identity.certificate))
    failure = dane_refusal(told, sink, hop=NextHop(HOST, is_certain=False))
    assert failure.phase == "route"
    assert "the MX record that names mail.example.test is not validated" in failure.detail
    assert sink.connection_count == 0


@pytest.mark.parametrize("is_validating", [True, False])
def test_an_mx_record_is_certain_where_the_resolver_has_validated_it(is_validating: bool) -> None:
    zone: Records = {("example.test.", "MX"): ["10 mail.example.test."], ("mail.example.test.", "A"): ["192.0.2.1"]}

    async def run() -> bool:
        async with resolver_for(NameServer(zone, is_validating=is_validating)) as resolver:
            route = MxRoute("example.test", Ourselves(frozenset()), validating(resolver), lambda: 0.5)
            [hop] = await route.next_hops()
            return hop.is_certain

    assert asyncio.run(run()) is is_validating


def test_an_address_has_no_records() -> None:
    failure = dane_refusal({}, Sink(), hop=NextHop("127.0.0.1"))
    assert (failure.phase, failure.detail) == ("route", "127.0.0.1 is an address: tls = dane needs the name of a host")
