"""What XCLIENT says of a client, in all the ways in which it may be said, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.offer import XCLIENT, with_line
from fallback_mx.smtp.xclient import BadAttribute, Told, parse


def xtext(value: str) -> str:
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in value)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("ADDR=192.0.2.7", Told(address="192.0.2.7")),
        ("addr=IPV6:2001:DB8::7", Told(address="2001:db8::7")),
        ("ADDR=ipv6:::1", Told(address="::1")),
        ("ADDR=2001:db8::7", Told(address="2001:db8::7")),
        ("ADDR=IPV6:::ffff:192.0.2.7", Told(address="192.0.2.7")),
        ("ADDR=[UNAVAILABLE]", Told(address="")),
        ("NAME=[TempUnavail] ADDR=[unavailable]", Told(name="", address="")),
        ("HELO=client.test PROTO=esmtp", Told(helo="client.test", protocol="ESMTP")),
        ("PROTO=SMTP PORT=25 LOGIN=a+20user", Told(protocol="SMTP", port="25", login="a user")),
        ("HELO=[UNAVAILABLE] PORT=[UNAVAILABLE]", Told(helo="", port="")),
        ("HELO=a+2Db.test", Told(helo="a-b.test")),
        ("HELO=one.test HELO=two.test", Told(helo="two.test")),
        ("HELO=[192.0.2.7]", Told(helo="[192.0.2.7]")),
    ],
)
def test_attributes_are_read_in_any_case_and_from_xtext(argument: str, told: Told) -> None:
    assert parse(argument) == told


@pytest.mark.parametrize(
    "argument",
    [
        "",
        " ",
        "ADDR",
        "ADDR=",
        "=192.0.2.7",
        "ADDR=192.0.2.7 ",
        "ADDR=192.0.2.7  HELO=x",
        "ADDR=192.0.2.256",
        "ADDR=IPV6:192.0.2.7",
        "ADDR=IPV6:fe80::1%25eth0",
        "ADDR=fe80::1%eth0",
        "ADDR=[192.0.2.7]",
        "ADDR=mail.test",
        "DESTADDR=192.0.2.7",
        "PROTO=LMTP",
        "PROTO=[UNAVAILABLE]",
        "PORT=65536",
        "PORT=-1",
        "PORT=x",
        "HELO=a+0D+0Ab",
        "HELO=a+00",
        "HELO=a+20b",
        "NAME=a+20b",
        "HELO=a+2",
        "HELO=a+2g",
        "HELO=a+2d",
        "HELO=a=b",
        "HELO=+FF",
        "HELO=" + "x" * 256,
    ],
)
def test_what_is_no_attribute_is_refused(argument: str) -> None:
    with pytest.raises(BadAttribute):
        parse(argument)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_whatever_can_be_said_in_xtext_is_read_back(login: str) -> None:
    expected = "" if login.upper() in {"[UNAVAILABLE]", "[TEMPUNAVAIL]"} else login
    assert parse(f"LOGIN={xtext(login)}") == Told(login=expected)


@given(st.ip_addresses())
def test_every_address_is_read_back(address: object) -> None:
    prefix = "IPV6:" if ":" in str(address) else ""
    mapped = getattr(address, "ipv4_mapped", None)
    assert parse(f"ADDR={prefix}{address}") == Told(address=str(mapped or address))


WORDS = st.lists(
    st.tuples(st.sampled_from(["NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "X", ""]), st.text(max_size=20)),
    max_size=4,
)


@given(WORDS)
def test_any_text_is_attributes_or_refused_and_nothing_unprintable_gets_through(words: list[tuple[str, str]]) -> None:
    with contextlib.suppress(BadAttribute):
        told = parse(" ".join(f"{name}={value}" for name, value in words))
        values = [told.address, told.helo, told.protocol, told.name, told.port, told.login]
        assert all(value is None or (value.isascii() and (value.isprintable())) for value in values)


def test_the_offer_stands_behind_the_greeting_of_ehlo() -> None:
    reply = b"250-mx2.example.net\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
    assert with_line(reply, XCLIENT).split(b"\r\n") == [
        b"250-mx2.example.net",
        b"250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN",
        b"250-PIPELINING",
        b"250 8BITMIME",
        b"",
    ]
