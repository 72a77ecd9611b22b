"""Who vouches for a sender, asked of a real name server: SPF for the client, DKIM for the message, and no guesses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import dns.asyncresolver
import dns.rcode
import pytest

from fallback_mx.bounces.vouching import Voucher
from fallback_mx.rules.bouncing import Verdict, is_aligned
from mxqueue import Message
from tests.fakes.dns import NameServer, Records, resolver_for
from tests.fakes.signer import Signer, name_of

LETTER = b"From: <a@sender.test>\r\nSubject: hello\r\n\r\nOne line.\r\n"
NAME = "sender.test."
PASSING: Records = {(NAME, "TXT"): ['"v=spf1 ip4:192.0.2.0/24 -all"']}
MESSAGE = Message(
    id="01K4QZ6YB3T9V5XW2N8M7RCD1E",
    arrived_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    reverse_path="a@sender.test",
    route="main",
    size=len(LETTER),
    client_address="192.0.2.1",
    helo="client.sender.test",
    trace=b"",
    body="7BIT",
    smtputf8=False,
    node="mx2",
    recipients=(),
)


def vouch(
    server: NameServer, content: bytes = LETTER, *, resolver: dns.asyncresolver.Resolver | None = None, **fields: object
) -> Verdict:
    async def run() -> Verdict:
        async def chunks() -> AsyncIterator[bytes]:
            yield content[:20]
            yield content[20:]

        async with resolver_for(server) as own:
            message = replace(MESSAGE, size=len(content), **fields)  # type: ignore[arg-type]
            return await Voucher(resolver or own, signed_octets=10_000).vouch(message, chunks)

    return asyncio.run(run())


# --- SPF ----------------------------------------------------------------------------------------------------


def test_spf_that_passes_the_client_vouches():
    assert vouch(NameServer(PASSING)) == Verdict(True, "SPF of sender.test passes 192.0.2.1")


def test_the_message_is_not_read_where_spf_has_passed():
    server = NameServer(PASSING)
    vouch(server, b"")
    assert server.asked == [(NAME, "TXT", "udp")]


MECHANISMS: dict[str, Records] = {
    "a": {(NAME, "TXT"): ['"v=spf1 a -all"'], (NAME, "A"): ["192.0.2.1"]},
    "mx": {
        (NAME, "TXT"): ['"v=spf1 mx -all"'],
        (NAME, "MX"): ["10 mail.sender.test."],
        ("mail.sender.test.", "A"): ["192.0.2.1"],
    },
    "include": {
        (NAME, "TXT"): ['"something else"', '"v=spf1 include:_spf.other.test -all"'],
        ("_spf.other.test.", "TXT"): ['"v=spf1 ip4:192.0.2.1" " -all"'],
    },
    "redirect": {
        (NAME, "TXT"): ['"v=spf1 redirect=_spf.other.test"'],
        ("_spf.other.test.", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"'],
    },
    "ptr": {
        (NAME, "TXT"): ['"v=spf1 ptr -all"'],
        ("1.2.0.192.in-addr.arpa.", "PTR"): ["client.sender.test."],
        ("client.sender.test.", "A"): ["192.0.2.1"],
    },
    "exists, with the name that the client gave": {
        (NAME, "TXT"): ['"v=spf1 exists:%{h}.list.test -all"'],
        ("client.sender.test.list.test.", "A"): ["127.0.0.2"],
    },
}


@pytest.mark.parametrize("records", MECHANISMS.values(), ids=MECHANISMS)
def test_each_way_to_name_a_client_is_understood(records: Records):
    assert vouch(NameServer(records)).is_vouched


def test_an_ipv6_client_is_known_by_its_own_address():
    by_name: Records = {(NAME, "TXT"): ['"v=spf1 a -all"'], (NAME, "AAAA"): ["2001:db8::1"]}
    for records in ({(NAME, "TXT"): ['"v=spf1 ip6:2001:db8::/32 -all"']}, by_name):
        assert vouch(NameServer(records), client_address="2001:db8::1").is_vouched
        assert not vouch(NameServer(records), client_address="2001:db9::1").is_vouched


NO: dict[str, tuple[Records, str]] = {
    "fail": ({(NAME, "TXT"): ['"v=spf1 ip4:198.51.100.1 -all"']}, "SPF of sender.test says fail"),
    "softfail": ({(NAME, "TXT"): ['"v=spf1 ~all"']}, "SPF of sender.test says softfail"),
    "neutral": ({(NAME, "TXT"): ['"v=spf1 ?all"']}, "SPF of sender.test says neutral"),
    "none": ({(NAME, "TXT"): ['"hello"']}, "SPF of sender.test says none"),
    "no such domain": ({}, "SPF of sender.test says none"),
    "two policies": ({(NAME, "TXT"): ['"v=spf1 +all"', '"v=spf1 -all"']}, "SPF of sender.test says permerror"),
    "nonsense": ({(NAME, "TXT"): ['"v=spf1 moo:192.0.2.1 +all"']}, "SPF of sender.test says permerror"),
    "too many questions": (
        {(NAME, "TXT"): ['"v=spf1 ' + " ".join(f"a:a{n}.sender.test" for n in range(11)) + ' +all"']}
        | {(f"a{n}.sender.test.", "A"): ["198.51.100.1"] for n in range(11)},
        "SPF of sender.test says permerror",
    ),
    "too many names that do not exist": (
        {(NAME, "TXT"): ['"v=spf1 a:a.sender.test a:b.sender.test a:c.sender.test +all"']},
        "SPF of sender.test says permerror",
    ),
    "a circle": ({(NAME, "TXT"): ['"v=spf1 include:sender.test +all"']}, "SPF of sender.test says permerror"),
}


@pytest.mark.parametrize(("records", "why"), NO.values(), ids=NO)
def test_every_other_policy_vouches_for_nobody(records: Records, why: str):
    verdict = vouch(NameServer(records))
    assert not verdict.is_vouched
    assert verdict.why == f"{why}, and there is no valid DKIM signature for sender.test"


@pytest.mark.parametrize("address", ["", "unknown", "192.0.2"])
def test_a_client_whose_address_nobody_wrote_down_is_vouched_for_by_no_policy(address: str):
    everybody: Records = {(NAME, "TXT"): ['"v=spf1 +all"']}
    assert not vouch(NameServer(everybody), client_address=address).is_vouched


def test_a_name_server_in_trouble_vouches_for_nobody():
    verdict = vouch(NameServer({}, broken={NAME: dns.rcode.SERVFAIL}))
    assert not verdict.is_vouched
    assert verdict.why.startswith("SPF of sender.test says temperror")


def test_no_name_server_at_all_vouches_for_nobody():
    nobody = dns.asyncresolver.Resolver(configure=False)
    nobody.nameservers, nobody.port = ["127.0.0.1"], 9
    nobody.timeout = nobody.lifetime = 0.5
    assert not vouch(NameServer(PASSING), resolver=nobody).is_vouched


# --- DKIM ----------------------------------------------------------------------------------------------------


def signed(domain: str = "sender.test", **record: str) -> tuple[NameServer, bytes]:
    """A message that this domain has signed, and the name server that knows its key."""
    signer = Signer.made()
    return NameServer({(name_of(domain), "TXT"): signer.record(**record)}), signer.sign(LETTER, domain)


def test_a_valid_signature_of_its_own_domain_vouches():
    assert vouch(*signed()) == Verdict(True, "signed by sender.test (DKIM)")


def test_a_signature_of_the_domain_above_vouches():
    assert vouch(*signed(), reverse_path="bounce-7@news.sender.test").is_vouched


@pytest.mark.parametrize("domain", ["other.test", "news.sender.test", "notsender.test", "test"])
def test_a_signature_of_anybody_else_vouches_for_nobody_and_is_not_looked_up(domain: str):
    server, content = signed(domain)
    assert not vouch(server, content).is_vouched
    assert server.asked == [(NAME, "TXT", "udp")]


@pytest.mark.parametrize(
    "change", [(b"One line", b"One lime"), (b"Subject: hello", b"Subject: jello"), (b"bh=", b"bh=A")]
)
def test_a_signature_that_no_longer_fits_vouches_for_nobody(change: tuple[bytes, bytes]):
    server, content = signed()
    verdict = vouch(server, content.replace(*change))
    assert verdict.why == "SPF of sender.test says none, and there is no valid DKIM signature for sender.test"


@pytest.mark.parametrize("more", ["t=y; ", "t=s:y; "])
def test_a_key_that_is_being_tested_vouches_for_nobody(more: str):
    assert not vouch(*signed(more=more)).is_vouched


def test_a_key_that_was_taken_back_vouches_for_nobody():
    _, content = signed()
    for record in (['"v=DKIM1; p="'], ['"hello"']):
        assert not vouch(NameServer({(name_of("sender.test"), "TXT"): record}), content).is_vouched


def test_an_algorithm_that_is_broken_vouches_for_nobody():
    server, _ = signed()
    assert not vouch(server, Signer.made().sign(LETTER, "sender.test", algorithm=b"rsa-sha1")).is_vouched


def test_one_good_signature_among_bad_ones_is_enough():
    server, content = signed()
    bad = b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.test; s=s1; h=from; bh=AAAA; b=AAAA\r\n"
    nonsense = b"DKIM-Signature: nonsense\r\n"
    assert vouch(server, bad + nonsense + content).is_vouched


def test_only_the_first_few_signatures_are_looked_at():
    server, content = signed()
    bad = b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.test; s=s1; h=from; bh=AAAA; b=AAAA\r\n"
    assert not vouch(server, bad * 5 + content).is_vouched


def test_a_signature_of_a_part_of_the_content_vouches_for_nobody():
    server, _ = signed()
    content = Signer.made().sign(LETTER, "sender.test", says_length=True)
    assert not vouch(server, content + b"BUY NOW\r\n").is_vouched


def test_a_key_that_is_not_for_sha_256_vouches_for_nobody():
    assert vouch(*signed(more="h=sha1:sha256; ")).is_vouched
    assert not vouch(*signed(more="h=sha1; ")).is_vouched


# What takes as long as it is long -----------------------------------------------------------------------------


def test_with_too_many_signatures_a_message_has_none_and_nobody_is_asked():
    server, content = signed()
    assert not vouch(server, b"DKIM-Signature: d=other.test\r\n" * 20 + content).is_vouched
    assert server.asked == [(NAME, "TXT", "udp")]


@pytest.mark.parametrize("blanks", [b" " * 5000, b" :\t" * 2000])
def test_a_signature_that_is_too_long_is_not_looked_at(blanks: bytes):
    server, content = signed()
    before, mark, after = content.partition(b"h=")
    assert not vouch(server, before + mark + blanks + after).is_vouched
    assert server.asked == [(NAME, "TXT", "udp")]


def test_a_key_that_is_too_long_is_not_tried():
    assert not vouch(*signed(more=f"n={'x' * 240}; n={'x' * 240}; n={'x' * 240}; ")).is_vouched


def test_a_policy_that_is_too_long_is_not_read():
    more = " ".join(f'"ip4:198.51.100.{number % 250} "' for number in range(150))
    assert not vouch(NameServer({(NAME, "TXT"): [f'"v=spf1 ip4:192.0.2.0/24 " {more} "-all"']})).is_vouched


def test_a_name_server_in_trouble_over_a_key_is_told_apart_from_a_bad_signature():
    _, content = signed()
    broken = NameServer({}, broken={name_of("sender.test"): dns.rcode.SERVFAIL})
    verdict = vouch(broken, content)
    assert not verdict.is_vouched
    assert verdict.why.startswith("SPF of sender.test says none, and a signature cannot be verified: TXT of ")


def test_a_message_that_is_too_large_to_verify_is_vouched_for_by_spf_alone():
    _, content = signed()
    large = content + b"x" * 10_000
    server = NameServer({})
    assert vouch(server, large).why.endswith("the message is too large to look for a signature")
    assert vouch(NameServer(PASSING), large).is_vouched


@pytest.mark.parametrize("content", [b"", b"\r\n", b"no header at all", b"\xff\xfe: \r\n\r\n", b"DKIM-Signature: "])
def test_what_is_no_message_vouches_for_nobody(content: bytes):
    assert not vouch(NameServer({}), content).is_vouched


# --- whose signature -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signing", "domain", "speaks"),
    [
        ("sender.test", "sender.test", True),
        ("Sender.TEST.", "sender.test", True),
        ("sender.test", "a.b.sender.test", True),
        ("a.sender.test", "sender.test", False),
        ("a.sender.test", "b.sender.test", False),
        ("ender.test", "sender.test", False),
        ("test", "sender.test", False),
        ("", "sender.test", False),
        ("sender.test", "", False),
    ],
)
def test_whose_signature_speaks_for_whom(signing: str, domain: str, speaks: bool):
    assert is_aligned(signing, domain) is speaks
