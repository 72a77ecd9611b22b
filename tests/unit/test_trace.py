"""The Received line we add and the hops we count."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest

from fallback_mx.rules import trace

AT = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)


def received(helo: str = "mail.sender.test", client_address: str = "192.0.2.7") -> bytes:
    return trace.received(
        helo=helo,
        client_address=client_address,
        hostname="mx2.example.net",
        protocol="ESMTPS",
        queue_id="01ABC",
        at=AT,
    )


def test_the_line_names_the_client_the_host_the_protocol_and_the_queue_id() -> None:
    line = message_from_bytes(received() + b"\r\nbody")["Received"]
    assert "from mail.sender.test ([192.0.2.7])" in line
    assert "by mx2.example.net (Fallback MX) with ESMTPS id 01ABC" in line.replace("\r\n\t", " ")


def test_the_date_is_the_time_of_acceptance() -> None:
    line = message_from_bytes(received() + b"\r\n")["Received"]
    assert parsedate_to_datetime(line.rpartition(";")[2].strip()) == AT


def test_an_ipv6_client_is_written_as_an_address_literal() -> None:
    assert b"([IPv6:2001:db8::1])" in received(client_address="2001:db8::1")


@pytest.mark.parametrize("helo", ["a\r\nX-Evil: 1", "a)b(c", "x;y", "é", "a" * 1000])
def test_what_a_client_calls_itself_cannot_break_the_line(helo: str) -> None:
    line = received(helo=helo)
    assert line.count(b"\r\n") == 3
    assert line.count(b"(") == 2
    assert all(len(part) < 998 for part in line.split(b"\r\n"))


def test_the_line_is_never_longer_than_is_reckoned_with() -> None:
    line = trace.received(
        helo="h" * 300,
        client_address="2001:db8:1111:2222:3333:4444:5555:6666",
        hostname="n" * 255,
        protocol="UTF8SMTPS",
        queue_id="0" * 26,
        at=AT,
    )
    assert 600 < len(line) <= trace.MAX_OCTETS
