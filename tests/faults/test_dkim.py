"""FAULTS 42: a DKIM signature (RFC 6376) that was good when the relay took the message is good when the primary has it.

The signature is dkimpy's, and so is the verdict; nothing of ours signs or verifies.
"""

from __future__ import annotations

import itertools
import smtplib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.letters import first_difference, without_trace
from tests.fakes.outage import outage
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import DOMAIN, Relay, primary
from tests.fakes.signer import Signer

SIGNING = "sender.test"
PAIRS = tuple(itertools.product([b"simple", b"relaxed"], repeat=2))  # of header and body (section 3.4)

# What "simple" keeps and a mail server likes to tidy up: case, blanks, folds, a header that comes twice.
HEADER = (
    b"FROM:  a@sender.test\r\nsubject:x\r\nSubject:\tfolded  \r\n \t here,\r\n\tand there \r\n"
    b"To: user@example.test\r\nDate: Sun, 1 Mar 2026 12:00:00 +0000\r\nMessage-ID: <a.b@sender.test>\r\n\r\n"
)
BODIES = (
    b"",
    b"\r\n",
    b"One line.\r\n",
    b"blanks at the end \t \r\n   \r\n\r\n\r\n",
    b".\r\n..\r\n.x\r\n\r\n.\r\n",
    b"Gr\xc3\xbc\xc3\x9fe \xff\xfe\r\n",
    b"x" * 998 + b"\r\n" + b"." * 998 + b"\r\n",
    b"From me to you\r\n" * 20_000,
)


def sign(message: bytes, pair: tuple[bytes, bytes]) -> bytes:
    return Signer.made().sign(message, SIGNING, canonicalize=pair)


def verifies(message: bytes) -> bool:
    return Signer.made().verifies(message, SIGNING)


def send(port: int, *contents: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="sender.test", timeout=60) as client:
        for content in contents:
            assert client.sendmail("a@sender.test", [f"user@{DOMAIN}"], content, ["BODY=8BITMIME"]) == {}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Relay, FakePrimary]]:
    """A relay that takes mail whether the primary is up or not, and this primary, which is up."""
    with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept")) as relay:
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        yield relay, fake


def test_every_signature_verifies_at_the_primary_after_an_outage(servers: tuple[Relay, FakePrimary]) -> None:
    relay, fake = servers
    signed = [sign(HEADER + body, pair) for body in BODIES for pair in PAIRS]
    assert all(verifies(each) for each in signed), "not even before it was sent"
    with outage(relay, fake) as arrivals:
        send(relay.port, *signed)

    assert len(arrivals) == len(signed)
    broken = [each.content[:3000] for each in arrivals if not verifies(each.content)]
    assert broken == []
    # Arrived is not the same as unharmed: who tidies the body up is found out.
    simple = next(
        each.content for each in arrivals if b"c=simple/simple" in each.content and b"at the end \t " in each.content
    )
    assert not verifies(simple.replace(b"at the end \t ", b"at the end"))


any_line = st.binary(max_size=60).map(lambda octets: bytes(octet for octet in octets if octet not in b"\r\n\0"))
odd_line = st.sampled_from([b"", b".", b"..", b" ", b"\t", b"x ", b"From x", b"QUIT", b"\x1a", b"\xff", b"." * 998])
bodies = st.lists(st.one_of(any_line, odd_line), max_size=30).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


@settings(max_examples=60, deadline=None)
@given(body=bodies, pair=st.sampled_from(PAIRS))
def test_a_signature_over_any_body_verifies_at_the_primary(
    servers: tuple[Relay, FakePrimary], body: bytes, pair: tuple[bytes, bytes]
) -> None:
    relay, fake = servers
    signed = sign(HEADER + body, pair)
    assert verifies(signed), "not even before it was sent"

    fake.sink.messages.clear()
    send(relay.port, signed)
    relay.wait_for(lambda: bool(fake.messages), "the message arrives", interval=0.005)

    (arrived,) = fake.messages
    assert verifies(arrived.content)
    assert first_difference(signed, without_trace(arrived.content)) == ""
