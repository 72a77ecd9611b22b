"""What the next hop is told of the true client."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules import trace
from fallback_mx.smtp import xclient as read_xclient
from fallback_mx.smtp.forwarded import hello_name, xclient, xforward
from mxqueue.model import Message
from tests.fakes.parcels import EPOCH, MemoryParcel

ALL = frozenset({"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"})
IDENT = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def message(protocol: str = "ESMTPS", **changes: str) -> Message:
    line = trace.received(
        helo="client.test", client_address="192.0.2.1", hostname="mx2.test", protocol=protocol, queue_id="X", at=EPOCH
    )
    return replace(MemoryParcel(b"", trace=line).message, **changes)


def test_everything_that_is_known_is_told_and_the_rest_is_said_to_be_unavailable() -> None:
    assert xforward(message(), ALL) == (
        b"XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=[UNAVAILABLE] PROTO=ESMTP HELO=client.test "
        b"IDENT=01ARZ3NDEKTSV4RRFFQ69G5FAV SOURCE=REMOTE\r\n"
    )
    assert xclient(message(), ALL) == (
        b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=[UNAVAILABLE] PROTO=ESMTP HELO=client.test\r\n"
    )


def test_what_is_not_offered_is_not_said() -> None:
    assert xforward(message(), frozenset({"ADDR", "LOGIN"})) == b"XFORWARD ADDR=192.0.2.1\r\n"
    assert xclient(message(), frozenset()) == b""


def test_an_ipv6_address_is_marked_as_one() -> None:
    assert xclient(message(client_address="2001:db8::1"), frozenset({"ADDR"})) == b"XCLIENT ADDR=IPV6:2001:db8::1\r\n"


@pytest.mark.parametrize(
    ("protocol", "said"), [("SMTP", b"SMTP"), ("ESMTP", b"ESMTP"), ("ESMTPS", b"ESMTP"), ("UTF8SMTPS", b"ESMTP")]
)
def test_the_protocol_is_that_of_our_received_line(protocol: str, said: bytes) -> None:
    assert xforward(message(protocol), frozenset({"PROTO"})) == b"XFORWARD PROTO=" + said + b"\r\n"


@pytest.mark.parametrize(
    ("helo", "said"),
    [
        ("a+b=c", "a+2Bb+3Dc"),
        ("with blank", "with+20blank"),
        ("", "[UNAVAILABLE]"),
        ("münchen.test", "[UNAVAILABLE]"),
        ("evil\r\nRSET", "[UNAVAILABLE]"),
        ("x" * 256, "[UNAVAILABLE]"),
        ("+" * 200, "[UNAVAILABLE]"),
    ],
)
def test_what_a_client_calls_itself_is_encoded_or_left_out(helo: str, said: str) -> None:
    assert xforward(message(helo=helo), frozenset({"HELO"})) == f"XFORWARD HELO={said}\r\n".encode()


@given(st.text(max_size=400), st.sampled_from(["192.0.2.1", "2001:db8:1111:2222:3333:4444:5555:6666"]))
def test_every_command_is_one_line_of_a_permitted_length(helo: str, address: str) -> None:
    for line in (xforward(message(helo=helo, client_address=address), ALL), xclient(message(helo=helo), ALL)):
        assert line.endswith(b"\r\n")
        assert line.count(b"\r") == line.count(b"\n") == 1
        assert len(line) <= 512


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100))
def test_what_we_say_is_what_our_own_listener_reads(helo: str) -> None:
    said = xclient(message(helo=helo), ALL).decode().removeprefix("XCLIENT ").rstrip()
    told = read_xclient.parse(said)
    assert (told.address, told.protocol) == ("192.0.2.1", "ESMTP")
    assert told.helo in (helo, "")


@pytest.mark.parametrize(
    ("helo", "said"), [("client.test", "client.test"), ("[192.0.2.1]", "[192.0.2.1]"), ("a b", ""), ("ä", ""), ("", "")]
)
def test_only_a_name_that_can_stand_in_ehlo_is_said_there(helo: str, said: str) -> None:
    assert hello_name(message(helo=helo)) == said
