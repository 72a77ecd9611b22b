"""Commands that are sent together with STARTTLS (FAULTS 29): whoever can write on the wire gets none of them obeyed."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from fallback_mx.smtp.terms import ListenerSettings
from mxqueue import Queue
from tests.fakes.tables import lay
from tests.integration.test_listener import ROUTES, Client, World, running, trusting

INJECTED = b"EHLO evil.test\r\nMAIL FROM:<evil@s.test>\r\nRCPT TO:<u@example.test>\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def world(tmp_path: Path, authority: trustme.CA) -> Iterator[World]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx2.example.net").configure_cert(context)
    settings = ListenerSettings("mx2.example.net", ROUTES, spool_directory=tmp_path, tls_context=context)
    queue = Queue.open(lay(tmp_path / "queue.db"), node="n1", exclusive=True)
    with running(queue, settings) as world:
        yield world
    queue.close()


def test_what_comes_in_one_packet_with_starttls_is_forgotten(world: World, authority: trustme.CA) -> None:
    client = world.client().hello()
    client.send(b"STARTTLS\r\n" + INJECTED)
    assert client.reply().startswith("220")
    client.start_tls(trusting(authority))
    # Were any of it obeyed, there would be replies to it, a greeting and a transaction.
    assert client.say("MAIL FROM:<a@s.test>") == "503 5.5.1 Send EHLO first"
    assert client.say("EHLO client.test").startswith("250-mx2.example.net")
    assert client.say("DATA").startswith("503")


def test_a_transaction_begun_before_starttls_is_forgotten(world: World, authority: trustme.CA) -> None:
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("RCPT TO:<u@example.test>").startswith("250")
    assert client.say("STARTTLS").startswith("220")
    client.start_tls(trusting(authority))
    assert client.say("EHLO client.test").startswith("250")
    assert client.say("DATA").startswith("503")


def test_what_comes_in_the_place_of_a_handshake_ends_the_connection_unanswered(world: World) -> None:
    client = world.client().hello()
    assert client.say("STARTTLS").startswith("220")
    client.send(INJECTED)
    assert not _says_anything_in_smtp(client)
    assert world.listener is not None
    deadline = time.monotonic() + 20
    while world.listener.sessions and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.listener.sessions == 0


def _says_anything_in_smtp(client: Client) -> bool:
    """Whether a reply comes; an alert of TLS is none."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while octets := client.socket.recv(1000):
            heard += octets
    return heard[:1].isdigit()
