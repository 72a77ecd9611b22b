"""swaks with TLS and pipelining through an outage: what it was given is what the primary gets.

swaks sends a file as it is, dots doubled, so the file is the measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.fakes.letters import LETTERS, Letter, first_difference, without_trace
from tests.fakes.outage import outage
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary
from tests.fakes.swaks import Swaks

pytestmark = pytest.mark.peers


@dataclass(frozen=True)
class Place:
    relay: Relay
    primary: FakePrimary
    authority: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A relay with a certificate, and who vouches for it."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    issued = authority.issue_cert("relay.example.net", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(directory / "certificate.pem"), append=True)
    server = {"tls_certificate": str(directory / "certificate.pem"), "tls_key": str(directory / "key.pem")}
    with FakePrimary() as fake, Relay(primary(fake.port), server=server) as relay:
        yield Place(relay, fake, directory / "authority.pem")


NARROW = [letter for letter in LETTERS if not letter.is_wide]
(WIDE,) = (letter for letter in LETTERS if letter.is_wide)


@pytest.mark.parametrize("letter", NARROW, ids=[letter.kind for letter in NARROW])
def test_what_swaks_sends_over_tls_and_pipelined_arrives_byte_for_byte_and_once(
    place: Place, swaks: Swaks, letter: Letter
) -> None:
    if not swaks.speaks_tls():
        pytest.skip("swaks has no TLS without Net::SSLeay (Debian package: libnet-ssleay-perl)")
    options = ["--tls", "--tls-verify", "--tls-ca-path", str(place.authority), "--pipeline"]
    with outage(place.relay, place.primary) as arrivals:
        transcript = swaks.send_content(
            place.relay.port, letter.content, *options, recipient=letter.forward_path, sender=letter.reverse_path
        )
        assert transcript.final_reply.startswith("250 "), transcript.text
        assert "=== TLS started with cipher TLS" in transcript.text
        assert re.search(r"(?m)^ ~> RCPT TO:.*\n ~> DATA\n<~  250 ", transcript.text), "not pipelined"

    (arrived,) = arrivals
    assert b" with ESMTPS" in arrived.content[:500]
    assert first_difference(letter.content, without_trace(arrived.content)) == ""
    assert (arrived.reverse_path, arrived.forward_paths) == (letter.reverse_path, (letter.forward_path,))


def test_swaks_cannot_say_smtputf8_and_is_refused_for_good(place: Place, swaks: Swaks) -> None:
    with outage(place.relay, place.primary) as arrivals:
        transcript = swaks.send(place.relay.port, recipient=WIDE.forward_path, sender=WIDE.reverse_path)
        assert f" -> MAIL FROM:<{WIDE.reverse_path}>\n" in transcript.text, "this swaks says more: let it deliver"
        assert re.match(r"55[03] 5\.6\.7 ", transcript.final_reply), transcript.text
    assert arrivals == []
