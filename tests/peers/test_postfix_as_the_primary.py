"""Postfix as the primary: TLS in each policy, a login, XCLIENT, XFORWARD and chunks, as a real server takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fallback_mx.rules.disposition import Delivery, NoConnection, Reply
from fallback_mx.rules.health import Observation
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import DialSettings, connect, open_first
from fallback_mx.smtp.forwarded import Announce
from fallback_mx.smtp.login import MECHANISMS, Login
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.probe import probe
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.tls_policy import TlsPolicy, Trust
from tests.fakes import postfix
from tests.fakes.dns import NameServer, resolver_for
from tests.fakes.dovecot_auth import DovecotAuth
from tests.fakes.identities import Identity, tlsa, write_authority
from tests.fakes.parcels import TRACE, MemoryParcel
from tests.fakes.postfix import Postfix
from tests.fakes.relay import DOMAIN

pytestmark = pytest.mark.peers

HOST = "mail.example.test"
USERNAME, PASSWORD = "backup", "s3cret"
HEADER = b"From: a@sender.test\r\nDate: Sun, 1 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\n"
SMALL = HEADER + b"..dots\r\n.\r\nend\r\n"
LARGE = HEADER + b"".join(b"%08d .\r\n.\r\n" % line for line in range(50_000))


@dataclass(frozen=True)
class Place:
    postfix: Postfix
    identity: Identity
    directory: Path
    passwords: DovecotAuth

    @property
    def hop(self) -> NextHop:
        return NextHop(HOST, self.postfix.port, ("127.0.0.1",))

    def log(self) -> str:
        return self.postfix.log_tail(2000)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """One Postfix with a certificate, which believes 127.0.0.1 and lets one user in."""
    lacking = postfix.missing()
    if lacking is not None:
        pytest.skip(lacking)
    identity = Identity(HOST)
    primary = Postfix.primary(DOMAIN)
    directory = primary.directory  # Postfix's daemons may read in it, as another user
    (directory / "key.pem").write_bytes(identity.key_and_chain)
    with ExitStack() as stack:
        passwords = stack.enter_context(DovecotAuth(directory / "passwords", USERNAME, PASSWORD))
        primary.settings |= {
            "smtpd_tls_chain_files": str(directory / "key.pem"),
            "smtpd_tls_security_level": "may",
            "smtpd_tls_loglevel": "1",
            "smtpd_tls_received_header": "yes",
            "inet_protocols": "all",
            "smtpd_authorized_xclient_hosts": "127.0.0.1",
            "smtpd_authorized_xforward_hosts": "127.0.0.1",
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_tls_auth_only": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(passwords.path),
        }
        yield Place(stack.enter_context(primary), identity, directory, passwords)


def deliver(place: Place, settings: DialSettings, *parcels: MemoryParcel) -> tuple[list[Delivery], Greeting]:
    async def run() -> tuple[list[Delivery], Greeting]:
        courier = await connect(place.hop, settings)
        given = []
        for number, parcel in enumerate(parcels):
            following = parcels[number + 1] if number + 1 < len(parcels) else None
            given.append(await courier.deliver(parcel, lambda following=following: following))
        await courier.quit()
        return given, courier.greeting

    return asyncio.run(run())


def arrived(place: Place, deliveries: list[Delivery]) -> list[bytes]:
    """What is in the Maildir of these, in their order, below Postfix's own fields."""
    assert all(isinstance(each, Reply) and each.is_success for one in deliveries for each in one.results), deliveries
    ids = [str(one.results[0]).rpartition(" ")[2].encode() for one in deliveries]
    found: dict[bytes, bytes] = {}

    async def look() -> None:
        async with asyncio.timeout(30):
            while set(ids) - set(found):
                await asyncio.sleep(0.05)
                for content in place.postfix.messages():
                    found.update({each: content for each in ids if b" id " + each in content})

    asyncio.run(look())
    return [found[each] for each in ids]


def below(content: bytes) -> bytes:
    """From our own trace line on."""
    return content[content.index(TRACE.replace(b"\r\n", b"\n")) :]


def as_stored(content: bytes) -> bytes:
    return (TRACE + content).replace(b"\r\n", b"\n")


# TLS ---------------------------------------------------------------------------------------------------------------


def settings(place: Place, policy: TlsPolicy, **trust: object) -> DialSettings:
    return DialSettings("mx2.test", tls=policy, trust=Trust(**trust))  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["none", "opportunistic", "require", "verify", "pinned"])
def test_mail_arrives_in_each_policy_and_is_encrypted_where_it_says_so(place: Place, policy: str) -> None:
    how = {
        "verify": settings(place, TlsPolicy.VERIFY, ca_file=write_authority(place.directory)),
        "pinned": settings(place, TlsPolicy.VERIFY, pins=(place.identity.pin,)),
    }.get(policy) or settings(place, TlsPolicy(policy))
    deliveries, greeting = deliver(place, how, MemoryParcel(SMALL))
    assert bool(greeting.tls) is (policy != "none")
    [content] = arrived(place, deliveries)
    assert below(content) == as_stored(SMALL)
    assert (b"(using TLSv1.3" in content) is (policy != "none")


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("is_right", [True, False])
def test_dane_believes_what_the_record_names_and_nothing_else(place: Place, usage: int, is_right: bool) -> None:
    identity = place.identity if is_right else Identity(HOST, issuer=Identity.stranger())
    certificate = identity.chain[usage == 2 and len(identity.chain) > 1]
    name = f"_{place.postfix.port}._tcp.{HOST}."

    async def run() -> Observation:
        server = NameServer({(name, "TLSA"): [tlsa(usage, 1, 1, certificate)]}, is_validating=True)
        async with resolver_for(server) as resolver:
            dial = DialSettings("mx2.test", tls=TlsPolicy.DANE, resolver=resolver)
            return await probe(lambda: open_first([place.hop], dial))

    observation = asyncio.run(run())
    assert observation.good is is_right, observation.detail
    if not is_right:
        assert (observation.phase, "TLSA records" in observation.detail) == ("starttls", True)


@pytest.mark.parametrize(
    "trust", [{"name": "other.example.test"}, {"pins": (Identity(HOST).pin,)}, {}], ids=["name", "pin", "authority"]
)
def test_verify_refuses_what_is_not_right(place: Place, trust: dict[str, object]) -> None:
    if "name" in trust:
        trust = {**trust, "ca_file": write_authority(place.directory)}
    before = len(place.postfix.messages())
    with pytest.raises(NoConnection) as caught:
        deliver(place, settings(place, TlsPolicy.VERIFY, **trust), MemoryParcel(SMALL))
    assert caught.value.phase == "starttls"
    assert len(place.postfix.messages()) == before


# Login -------------------------------------------------------------------------------------------------------------


def logging_in(place: Place, password: str, tls: TlsPolicy = TlsPolicy.REQUIRE) -> DialSettings:
    path = place.directory / "password"
    path.write_text(password)
    return replace(settings(place, tls), login=Login(USERNAME, path))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_login_is_taken_over_tls(place: Place, mechanism: str) -> None:
    place.postfix.change(smtpd_sasl_mechanism_filter=mechanism)
    deliveries, _ = deliver(place, logging_in(place, PASSWORD), MemoryParcel(SMALL))
    arrived(place, deliveries)
    assert f"sasl_method={mechanism}, sasl_username={USERNAME}" in place.log()


def test_a_wrong_password_is_said_once(place: Place) -> None:
    before = place.passwords.asked
    with pytest.raises(NoConnection) as caught:
        deliver(place, logging_in(place, "wrong"), MemoryParcel(SMALL))
    assert (caught.value.phase, caught.value.detail.startswith("backup was not let in: 535 5.7.8 ")) == ("auth", True)
    assert place.passwords.asked == before + 1


def test_postfix_offers_no_login_in_clear(place: Place) -> None:
    with pytest.raises(NoConnection) as caught:
        deliver(place, logging_in(place, PASSWORD, TlsPolicy.NONE), MemoryParcel(SMALL))
    assert caught.value.detail == "the server offers no way to log in that is known here (it offers none at all)"


# XFORWARD and XCLIENT ------------------------------------------------------------------------------------------------


def of_client(address: str, helo: str, content: bytes = SMALL) -> MemoryParcel:
    parcel = MemoryParcel(content)
    parcel.message = replace(parcel.message, client_address=address, helo=helo)
    return parcel


@pytest.mark.parametrize("policy", [TlsPolicy.NONE, TlsPolicy.REQUIRE])
def test_xforward_puts_the_true_client_into_postfixs_log(place: Place, policy: TlsPolicy) -> None:
    how = replace(settings(place, policy), announce=Announce.XFORWARD)
    parcels = [of_client("192.0.2.81", "one.test"), of_client("2001:db8::82", "two+=.test")]
    deliveries, _ = deliver(place, how, *parcels)
    contents = arrived(place, deliveries)
    ids = [str(one.results[0]).rpartition(" ")[2] for one in deliveries]
    log = place.log()
    for queue_id, address in zip(ids, ["192.0.2.81", "2001:db8::82"], strict=True):
        [line] = [line for line in log.splitlines() if f"{queue_id}: client=" in line]
        assert f"orig_client=unknown[{address}]" in line
        assert "orig_queue_id=01ARZ3NDEKTSV4RRFFQ69G5FAV" in line
    assert all(b"from mx2.test (" in each for each in contents)


@pytest.mark.parametrize("policy", [TlsPolicy.NONE, TlsPolicy.REQUIRE])
@pytest.mark.parametrize(
    ("address", "shown"), [("192.0.2.91", b"[192.0.2.91]"), ("2001:db8::92", b"[IPv6:2001:db8::92]")]
)
def test_xclient_has_postfix_take_us_for_the_true_client(
    place: Place, policy: TlsPolicy, address: str, shown: bytes
) -> None:
    how = replace(settings(place, policy), announce=Announce.XCLIENT)
    deliveries, _ = deliver(place, how, *[of_client(address, "one.test") for _ in range(3)])
    for content in arrived(place, deliveries):
        assert b"from one.test (unknown " + shown + b")" in content
        assert below(content) == as_stored(SMALL)


def test_postfix_lets_no_client_but_us_say_xclient_so_that_another_needs_another_connection(place: Place) -> None:
    how = replace(settings(place, TlsPolicy.NONE), announce=Announce.XCLIENT)
    [first, second], _ = deliver(place, how, of_client("192.0.2.93", "one.test"), of_client("192.0.2.94", "two.test"))
    assert (first.untouched, second.untouched) == (False, True)
    arrived(place, [first])


def test_a_postfix_without_ipv6_takes_its_clients_without_their_address(place: Place) -> None:
    place.postfix.change(inet_protocols="ipv4")
    try:
        for announce in (Announce.XCLIENT, Announce.XFORWARD):
            how = replace(settings(place, TlsPolicy.NONE), announce=announce)
            deliveries, _ = deliver(place, how, of_client("2001:db8::95", "six.test"))
            [content] = arrived(place, deliveries)
            assert (b"from six.test (unknown [unknown])" in content) is (announce is Announce.XCLIENT)
    finally:
        place.postfix.change(inet_protocols="all")


# Chunks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announce", Announce)
def test_large_messages_go_in_chunks_byte_for_byte(place: Place, announce: Announce) -> None:
    said: list[bytes] = []

    async def run() -> list[Delivery]:
        pipeline, greeting = await open_first([place.hop], settings(place, TlsPolicy.NONE))
        assert "chunking" in greeting.extensions
        push = pipeline._transport.write  # what goes out, as it goes out

        def noted(data: bytes) -> None:
            said.append(bytes(data[:20]))
            push(data)

        pipeline.push = noted  # type: ignore[method-assign]
        courier = Courier(pipeline, greeting, announce)
        parcels = [of_client("192.0.2.95", "big.test", content) for content in (LARGE, SMALL, LARGE)]
        given = [
            await courier.deliver(parcel, lambda following=following: following)
            for parcel, following in zip(parcels, [*parcels[1:], None], strict=True)
        ]
        await courier.quit()
        return given

    contents = arrived(place, asyncio.run(run()))
    assert [below(each) for each in contents] == [as_stored(each) for each in (LARGE, SMALL, LARGE)]
    assert sum(line.startswith(b"BDAT") for line in said) >= 4


def test_a_message_beyond_postfixs_limit_is_refused_and_the_next_is_taken(place: Place) -> None:
    """SIZE is announced; that of the first parcel is a lie, so that Postfix notices at a chunk."""
    liar = MemoryParcel((b"x" * 76 + b"\r\n") * 850_000)
    liar.message = replace(liar.message, size=70_000)
    first, second = deliver(place, settings(place, TlsPolicy.NONE), liar, MemoryParcel(LARGE))[0]
    [result] = first.results
    assert isinstance(result, Reply)
    assert (result.code, result.text.startswith("5.3.4 ")) == (552, True)
    assert below(arrived(place, [second])[0]) == as_stored(LARGE)
