"""Clients that bring too much (FAULTS 33, 35, 37, 43): each comes to its limit, and everybody else is served."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fallback_mx.smtp.limits import OVERSHOOT_RECIPIENTS, SessionLimits
from fallback_mx.smtp.terms import ListenerSettings
from mxqueue import Queue
from tests.fakes.tables import lay
from tests.integration.test_listener import ROUTES, Client, World, running

Open = Callable[..., World]


class From(Client):
    """A client with an address of its own: all of 127.0.0.0/8 is here."""

    def __init__(self, port: int, address: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0))
        self._file = self.socket.makefile("rb")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens a listener with these settings in place of the usual ones."""
    queue = Queue.open(lay(tmp_path / "queue.db"), node="n1", exclusive=True)
    usual = ListenerSettings(
        hostname="mx2.example.net", routes=ROUTES, max_message_size=3_000_000, spool_directory=tmp_path
    )
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(queue, replace(usual, **settings)))
    queue.close()


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sessions(world: World) -> int:
    assert world.listener is not None
    return world.listener.sessions


def ended(client: Client) -> bool:
    try:
        return client.reply() == ""
    except ConnectionResetError:
        return True


# Connections ----------------------------------------------------------------------------------------------------


def test_one_client_gets_no_more_than_its_connections_and_others_get_theirs(opened: Open) -> None:
    world = opened(max_connections_per_client=2)
    kept = [From(world.port, "127.0.0.2").hello() for _ in range(2)]
    for _ in range(20):
        refused = From(world.port, "127.0.0.2")
        assert refused.reply() == "421 4.7.0 Too many connections from your address, please use those that are open"
        assert ended(refused)
    assert From(world.port, "127.0.0.3").hello().say("NOOP").startswith("250")
    assert kept[0].say("NOOP").startswith("250")
    assert world.limits == ["client_connections"] * 20


def test_one_network_gets_no_more_than_its_connections_and_others_get_theirs(opened: Open) -> None:
    world = opened(max_connections_per_network=3)
    kept = [From(world.port, f"127.0.7.{number}").hello() for number in range(1, 4)]
    assert From(world.port, "127.0.7.9").reply().startswith("421 4.7.0 Too many connections from your network")
    assert From(world.port, "127.0.8.1").hello().say("NOOP").startswith("250")
    assert kept[0].say("NOOP").startswith("250")
    assert world.limits == ["network_connections"]


def test_a_connection_that_has_ended_makes_room_for_another(opened: Open) -> None:
    world = opened(max_connections_per_client=1)
    for _ in range(5):
        client = world.client().hello()
        client.close()
        until(lambda: sessions(world) == 0)
    assert world.limits == []


def test_a_flood_of_connections_leaves_nothing_behind(opened: Open) -> None:
    world = opened(max_connections=5)
    flood = [world.client() for _ in range(200)]
    replies = [client.reply()[:3] for client in flood]
    assert sorted(set(replies)) == ["220", "421"]
    assert replies.count("220") == 5
    for client in flood:
        client.close()
    until(lambda: sessions(world) == 0)
    assert world.listener is not None
    assert world.listener.crowd.total == 0
    assert world.client().hello().say("NOOP").startswith("250")


# Commands -------------------------------------------------------------------------------------------------------


def test_of_10000_recipients_the_first_are_taken_and_the_session_is_ended_in_the_end(opened: Open) -> None:
    world = opened(max_recipients=100)
    client, other = world.client().hello(), world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    with contextlib.suppress(OSError):
        client.send(b"".join(b"RCPT TO:<u%d@example.test>\r\n" % number for number in range(10_000)))
    replies = []
    with contextlib.suppress(ConnectionResetError):
        while reply := client.reply():
            replies.append(reply[:9])
    assert replies[:100] == ["250 2.1.5"] * 100
    assert set(replies[100:-1]) == {"452 4.5.3"}
    assert len(replies) == 100 + OVERSHOOT_RECIPIENTS + 2
    assert replies[-1] == "421 4.7.0"
    assert world.limits == ["recipients"]
    assert other.say("NOOP").startswith("250")


def test_a_sender_that_names_too_many_recipients_delivers_to_those_that_were_taken(opened: Open) -> None:
    world = opened(max_recipients=100)
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    client.send(b"".join(b"RCPT TO:<u%d@example.test>\r\n" % number for number in range(600)))
    assert [client.reply()[:3] for _ in range(600)] == ["250"] * 100 + ["452"] * 500
    assert client.say("DATA").startswith("354")
    client.send(b"n: 1\r\n\r\n.\r\n")
    assert client.reply().startswith("250")
    assert len(world.queue.list().result()[0].recipients) == 100


@pytest.mark.parametrize("command", ["NOOP", "RSET", "VRFY u", "HELP", "EHLO client.test", "helo client.test"])
def test_a_client_that_only_passes_the_time_is_sent_away(opened: Open, command: str) -> None:
    world = opened(session_limits=SessionLimits(idle_commands=10))
    client = world.client().hello()
    assert {client.say(command)[:1] for _ in range(10)} == {"2"}
    assert client.reply().startswith("421 4.7.0 10 commands without mail")
    assert ended(client)
    assert world.limits == ["idle_commands"]


def test_idle_commands_are_counted_anew_from_every_message(opened: Open) -> None:
    world = opened(session_limits=SessionLimits(idle_commands=10))
    client = world.client().hello()
    for _ in range(4):
        assert {client.say("RSET")[:3] for _ in range(8)} == {"250"}
        client.to_data().send(b"n: 1\r\n\r\n.\r\n")
        assert client.reply().startswith("250")
    assert world.limits == []


def test_a_message_too_many_is_for_the_next_session(opened: Open) -> None:
    world = opened(session_limits=SessionLimits(messages=2))
    client = world.client().hello()
    for _ in range(2):
        client.to_data().send(b"n: 1\r\n\r\n.\r\n")
        assert client.reply().startswith("250")
    assert client.say("MAIL FROM:<a@s.test>").startswith("421 4.7.0 2 messages in one session")
    assert ended(client)
    assert world.limits == ["messages"]
    assert len(world.queued()) == 2
    world.client().hello().to_data()


def test_errors_are_counted_by_their_name(opened: Open) -> None:
    world = opened(session_limits=SessionLimits(errors=3))
    client = world.client().hello()
    assert [client.say("JUNK")[:3] for _ in range(3)] == ["500"] * 3
    assert client.reply().startswith("421 4.7.0 Too many errors")
    assert world.limits == ["errors"]


def test_bdat_ends_the_session_at_once_whatever_it_says_of_its_size(opened: Open) -> None:
    world = opened()
    for size in ("0", "18446744073709551616 LAST", "x", ""):
        client = world.client().hello()
        client.send(f"BDAT {size}\r\nMAIL FROM:<a@s.test>\r\n".encode())
        assert client.reply().startswith("502 5.5.1")
        assert ended(client)
    assert world.troubles == []


@pytest.mark.parametrize("octet", [*range(1, 10), 11, 12, *range(14, 32), 127, 0x80, 0x9B])
def test_a_control_character_in_a_command_is_refused_and_never_echoed(opened: Open, octet: int) -> None:
    client = opened().client().hello()
    for command in (b"EHLO a%cb.test", b"MAIL FROM:<a%cb@s.test>", b"VRFY a%cb", b"NO%cOP", b"XCLIENT HELO=a%cb"):
        client.send(command % octet + b"\r\n")
        reply = client.reply()
        assert reply[:1] == "5"
        assert reply.isprintable()


# Messages -------------------------------------------------------------------------------------------------------


def send(client: Client, content: bytes) -> str:
    client.to_data().send(content + b".\r\n")
    return client.reply()


def test_an_endless_line_in_a_message_is_refused_at_its_end_and_takes_no_memory(opened: Open) -> None:
    world = opened(max_message_size=50_000_000)
    client = world.client().hello().to_data()
    for _ in range(300):
        client.send(b"x" * 100_000)
    assert world.listener is not None
    assert world.listener.content_memory.used == 0
    client.send(b"\r\n.\r\n")
    assert client.reply().startswith("554 5.6.0 A line is too long, at most 65536 octets")
    assert send(client, b"n: 2\r\n\r\n").startswith("250")
    assert world.queued() == [b"n: 2\r\n\r\n"]
    assert world.refusals == ["long_lines"]


def test_a_message_that_does_not_end_at_all_is_cut_off(opened: Open) -> None:
    world = opened()
    client = world.client().hello().to_data()
    with contextlib.suppress(OSError):
        for _ in range(2000):
            client.send(b"x" * 98 + b"\r\n" + b"y" * 99_898 + b"\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert client.reply().startswith("552 5.3.4")
    until(lambda: sessions(world) == 0)
    assert world.refusals == ["size"]


@pytest.mark.parametrize("length", [998, 999, 5000, 65_536])
def test_lines_are_taken_byte_for_byte(opened: Open, length: int) -> None:
    world = opened()
    content = b"n: 1\r\n\r\n" + b"\xe4" * length + b"\r\n.\xf6" + b"z" * (length - 2) + b"\r\n"
    assert send(world.client().hello(), content.replace(b"\r\n.", b"\r\n..")).startswith("250")
    assert world.queued() == [content]


def test_a_line_of_more_than_64_kib_is_refused_and_the_session_goes_on(opened: Open) -> None:
    world = opened()
    client = world.client().hello()
    assert send(client, b"n: 1\r\n\r\n" + b"x" * 65_537 + b"\r\n").startswith("554 5.6.0")
    assert send(client, b"n: 2\r\n\r\n").startswith("250")
    assert world.queued() == [b"n: 2\r\n\r\n"]


def test_where_long_lines_are_refused_998_octets_are_none(opened: Open) -> None:
    world = opened(max_line_length=998)
    client = world.client().hello()
    within = b"n: 1\r\n\r\n." + b"x" * 997 + b"\r\n"
    assert send(client, b"n: 1\r\n\r\n.." + b"x" * 997 + b"\r\n").startswith("250")
    assert send(client, b"n: 2\r\n\r\n" + b"x" * 999 + b"\r\n").startswith("554 5.6.0 A line is too long, at most 998")
    assert world.queued() == [within]


def test_a_header_that_is_too_large_is_refused_and_the_session_goes_on(opened: Open) -> None:
    world = opened(max_header_size=10_000)
    client = world.client().hello()
    field = b"X-Field: " + b"y" * 89 + b"\r\n"
    assert send(client, field * 100 + b"\r\n").startswith("250")
    assert send(client, field * 101 + b"\r\n") == "552 5.3.4 Message header too large, at most 10000 octets are taken"
    assert send(client, b"n: 1\r\n\r\n" + field * 101).startswith("250")
    assert len(world.queued()) == 2
    assert world.refusals == ["header_size"]


def test_an_endless_header_takes_no_memory(opened: Open) -> None:
    world = opened()
    client = world.client().hello().to_data()
    for _ in range(25):
        client.send(b"X-Field: y\r\n" * 9_000)
    client.send(b"\r\n.\r\n")
    assert client.reply().startswith("552 5.3.4 Message header too large")
    assert world.listener is not None
    assert world.listener.content_memory.used == 0


def test_a_message_larger_than_its_size_parameter_said_is_judged_by_what_it_is(opened: Open) -> None:
    world = opened()
    client = world.client().hello()
    for size, reply in ((2_000_000, "250"), (4_000_000, "552")):
        assert client.say("MAIL FROM:<a@s.test> SIZE=10").startswith("250")
        client.say("RCPT TO:<u@example.test>")
        client.say("DATA")
        client.send(b"n: 1\r\n\r\n" + (b"x" * 98 + b"\r\n") * (size // 100) + b".\r\n")
        assert client.reply().startswith(reply)
    assert len(world.queued()) == 1


def test_messages_that_come_together_share_the_memory_and_all_arrive(opened: Open) -> None:
    world = opened(max_content_memory=100_000)
    clients = [world.client().hello().to_data() for _ in range(6)]
    bodies = [b"n: %d\r\n\r\n" % number + (b"%d" % number * 98 + b"\r\n") * 600 for number in range(6)]
    assert world.listener is not None
    for client, body in zip(clients, bodies, strict=True):
        client.send(body)
    until(lambda: world.listener is not None and 0 < world.listener.content_memory.used <= 100_000)
    for client in clients:
        client.send(b".\r\n")
        assert client.reply().startswith("250")
    assert sorted(world.queued()) == bodies
    until(lambda: world.listener is not None and world.listener.content_memory.used == 0)


def test_a_client_that_goes_within_its_message_gives_the_memory_back(opened: Open) -> None:
    world = opened()
    client = world.client().hello().to_data()
    client.send(b"n: 1\r\n\r\n" + b"x" * 500)
    until(lambda: world.listener is not None and world.listener.content_memory.used > 0)
    client.close()
    until(lambda: world.listener is not None and world.listener.content_memory.used == 0)
