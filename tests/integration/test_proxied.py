"""Connections that others make for their clients: PROXY and XCLIENT, from those who may and from others."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from fallback_mx.smtp.networks import Networks
from fallback_mx.smtp.proxy_header import SIGNATURE
from fallback_mx.smtp.terms import ListenerSettings
from mxqueue import Queue
from tests.fakes.tables import lay
from tests.integration.test_listener import ROUTES, Client, World, running, trusting

HERE = Networks([ip_network("127.0.0.0/8")])
V1 = b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 25\r\n"
V2 = SIGNATURE + b"\x21\x11" + struct.pack("!H8BHH", 12, 192, 0, 2, 7, 203, 0, 113, 1, 4321, 25)
V6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4321 25\r\n"
Open = Callable[..., World]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens a listener with these settings in place of the usual ones."""
    queue = Queue.open(lay(tmp_path / "queue.db"), node="n1", exclusive=True)
    usual = ListenerSettings(hostname="mx2.example.net", routes=ROUTES, spool_directory=tmp_path)
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(queue, replace(usual, **settings)))
    queue.close()


@pytest.fixture
def behind_a_proxy(opened: Open) -> World:
    return opened(proxy_protocol_from=HERE)


@pytest.fixture
def behind_a_filter(opened: Open) -> World:
    return opened(xclient_from=HERE)


def announced(world: World, header: bytes = V1) -> Client:
    client = world.client()
    client.send(header)
    return client


def client_of_a_message(world: World, client: Client) -> str:
    """The address under which a message of this client is queued."""
    client.to_data().send(b"n: 1\r\n\r\n.\r\n")
    queue_id = client.reply().removeprefix("250 2.0.0 Queued as ")
    (message,) = (message for message in world.queue.list().result() if message.id == queue_id)
    literal = f"[IPv6:{message.client_address}]" if ":" in message.client_address else f"[{message.client_address}]"
    assert literal.encode() in message.trace
    return message.client_address


def is_cut_off(client: Client) -> bool:
    try:
        return client.reply() == ""
    except ConnectionResetError:
        return True


# PROXY ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (V1, "192.0.2.7"),
        (V2, "192.0.2.7"),
        (V6, "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
    ],
)
def test_the_client_is_whom_the_proxy_names(behind_a_proxy: World, header: bytes, address: str) -> None:
    assert client_of_a_message(behind_a_proxy, announced(behind_a_proxy, header).hello()) == address


@pytest.mark.parametrize("header", [V1, V2])
def test_a_header_may_come_an_octet_at_a_time_and_nothing_is_said_before_it_has_come(
    behind_a_proxy: World, header: bytes
) -> None:
    client = behind_a_proxy.client()
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in header[:-1]:
        client.send(bytes([octet]))
    client.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.socket.recv(1, socket.MSG_PEEK)
    client.socket.settimeout(20)
    client.send(header[-1:])
    client.hello()


def test_what_comes_together_with_the_header_is_read_after_it(behind_a_proxy: World) -> None:
    client = announced(behind_a_proxy, V1 + b"EHLO early.test\r\nNOOP\r\n")
    assert [client.reply()[:3] for _ in range(3)] == ["220", "250", "250"]


@pytest.mark.parametrize(
    "beginning",
    [b"EHLO client.test\r\n", b"PROXY TCP4 nonsense\r\n", b"PROXY UNKNOWN" + b"x" * 200, SIGNATURE + b"\x31" * 4],
)
def test_a_connection_of_a_proxy_without_a_header_is_cut_off_without_a_word(
    behind_a_proxy: World, beginning: bytes
) -> None:
    client = announced(behind_a_proxy, beginning)
    assert is_cut_off(client)
    assert behind_a_proxy.refusals == ["proxy_header"]
    assert behind_a_proxy.listener is not None
    assert behind_a_proxy.listener.sessions == 0


def test_a_proxy_that_goes_before_its_header_leaves_nothing(behind_a_proxy: World) -> None:
    for beginning in (b"", V1[:10]):
        announced(behind_a_proxy, beginning).close()
    assert announced(behind_a_proxy).hello().say("NOOP").startswith("250")
    assert behind_a_proxy.refusals == []


def test_a_second_header_is_an_unknown_command(behind_a_proxy: World) -> None:
    client = announced(behind_a_proxy).hello()
    assert client.say(V6.decode().strip()).startswith("500 5.5.2")
    assert client_of_a_message(behind_a_proxy, client) == "192.0.2.7"


@pytest.mark.parametrize("trusted", [Networks(), Networks([ip_network("192.0.2.0/24")])])
def test_a_header_from_anybody_else_is_an_unknown_command(opened: Open, trusted: Networks) -> None:
    world = opened(proxy_protocol_from=trusted)
    client = world.client().hello()
    assert client.say(V1.decode().strip()).startswith("500 5.5.2")
    assert client_of_a_message(world, client) == "127.0.0.1"
    binary = world.client().hello()
    binary.send(V2)
    assert binary.reply().startswith("500 5.5.2")


def test_connections_of_a_proxy_count_as_those_of_their_clients(opened: Open) -> None:
    world = opened(proxy_protocol_from=HERE, max_connections_per_client=1)
    kept = announced(world, V1).hello()
    assert announced(world, V2).reply().startswith("421 4.7.0 Too many connections from your address")
    other = announced(world, V6).hello()
    assert [each.say("NOOP")[:3] for each in (kept, other)] == ["250", "250"]


def test_starttls_works_behind_a_proxy(opened: Open) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx2.example.net").configure_cert(context)
    world = opened(proxy_protocol_from=HERE, tls_context=context)
    client = announced(world, V2).hello()
    assert client.say("STARTTLS").startswith("220")
    client.start_tls(trusting(authority))
    assert client.say("EHLO client.test").startswith("250")
    assert client_of_a_message(world, client) == "192.0.2.7"


# XCLIENT --------------------------------------------------------------------------------------------------------


def test_xclient_is_offered_to_those_who_may_and_to_nobody_else(opened: Open, behind_a_filter: World) -> None:
    client = behind_a_filter.client()
    client.reply()
    assert "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN" in client.say("EHLO filter.test")
    other = opened(xclient_from=Networks([ip_network("192.0.2.0/24")])).client()
    other.reply()
    assert "XCLIENT" not in other.say("EHLO filter.test")
    assert other.say("XCLIENT ADDR=192.0.2.7").startswith("550 5.7.0")


@pytest.mark.parametrize(
    ("attributes", "address"),
    [
        ("ADDR=192.0.2.7 NAME=mail.sender.test PORT=4321", "192.0.2.7"),
        ("ADDR=IPV6:2001:db8::7 NAME=[UNAVAILABLE] LOGIN=[UNAVAILABLE]", "2001:db8::7"),
        ("ADDR=[UNAVAILABLE]", "127.0.0.1"),
        ("NAME=[TEMPUNAVAIL]", "127.0.0.1"),
    ],
)
def test_the_client_is_whom_xclient_names(behind_a_filter: World, attributes: str, address: str) -> None:
    client = behind_a_filter.client().hello()
    assert client.say(f"XCLIENT {attributes}").startswith("220 mx2.example.net ESMTP")
    assert client.say("EHLO mail.sender.test").startswith("250")
    assert client_of_a_message(behind_a_filter, client) == address


def test_after_xclient_the_session_begins_anew(behind_a_filter: World) -> None:
    client = behind_a_filter.client().hello()
    assert client.say("XCLIENT ADDR=192.0.2.7").startswith("220")
    assert client.say("MAIL FROM:<a@s.test>").startswith("503")


def test_after_a_helo_by_xclient_no_other_is_needed(behind_a_filter: World) -> None:
    client = behind_a_filter.client().hello()
    assert client.say("XCLIENT ADDR=192.0.2.7 HELO=told.test PROTO=ESMTP").startswith("220")
    assert client_of_a_message(behind_a_filter, client) == "192.0.2.7"
    (message,) = behind_a_filter.queue.list().result()
    assert message.helo == "told.test"
    assert b"from told.test ([192.0.2.7])" in message.trace
    assert b"with ESMTP id" in message.trace


def test_xclient_before_any_greeting_and_again_and_again(behind_a_filter: World) -> None:
    client = behind_a_filter.client()
    client.reply()
    for address in ("192.0.2.7", "198.51.100.9"):
        assert client.say(f"XCLIENT ADDR={address}").startswith("220")
        assert client.say("EHLO mail.sender.test").startswith("250")
        assert client_of_a_message(behind_a_filter, client) == address


def test_xclient_within_a_transaction_is_out_of_turn(behind_a_filter: World) -> None:
    client = behind_a_filter.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("XCLIENT ADDR=192.0.2.7").startswith("503 5.5.1")
    assert client.say("RCPT TO:<u@example.test>").startswith("250")


@pytest.mark.parametrize("argument", ["", "ADDR=nowhere", "WHO=me", "ADDR=192.0.2.7 HELO=a+0Ab"])
def test_xclient_that_makes_no_sense_changes_nothing(behind_a_filter: World, argument: str) -> None:
    client = behind_a_filter.client().hello()
    assert client.say(f"XCLIENT {argument}".strip()).startswith("501 5.5.4")
    assert client_of_a_message(behind_a_filter, client) == "127.0.0.1"


def test_whom_xclient_names_counts_as_a_connection_of_theirs(opened: Open) -> None:
    world = opened(xclient_from=HERE, max_connections_per_client=1)
    first = world.client().hello()
    assert first.say("XCLIENT ADDR=192.0.2.7").startswith("220")
    second = world.client().hello()
    assert second.say("XCLIENT ADDR=192.0.2.7").startswith("421 4.7.0 Too many connections from your address")
    assert is_cut_off(second)
    first.close()
    assert world.listener is not None
    deadline = time.monotonic() + 20
    while world.listener.crowd.total and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.client().hello().say("XCLIENT ADDR=192.0.2.7").startswith("220")


def test_who_comes_by_a_proxy_may_say_xclient_by_their_own_address(opened: Open) -> None:
    world = opened(proxy_protocol_from=HERE, xclient_from=Networks([ip_network("192.0.2.7")]))
    assert announced(world, V1).hello().say("XCLIENT ADDR=198.51.100.9").startswith("220")
    assert announced(world, V6).hello().say("XCLIENT ADDR=198.51.100.9").startswith("550 5.7.0")
