"""The PROXY header, both versions: what is taken, what is refused, and that it makes no difference how it arrives."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.proxy_header import SIGNATURE, BadHeader, ProxyHeader, crc32c, parse

V4, V6 = 0x11, 0x21
PORTS = st.integers(0, 65535)
EXTRAS = st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=20)), max_size=4)


def v2(command: int, family: int, block: bytes, version: int = 2) -> bytes:
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack("!H", len(block)) + block


def addresses(source: str, destination: str, *ports: int) -> bytes:
    packed = [ipaddress.ip_address(text).packed for text in (source, destination)]
    return b"".join(packed) + struct.pack("!HH", *ports)


def extra(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


FROM_V4 = addresses("192.0.2.7", "203.0.113.1", 4321, 25)
FROM_V6 = addresses("2001:db8::7", "2001:db8::1", 4321, 25)

GOOD = {
    "v1 over IPv4": (b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 25\r\n", "192.0.2.7"),
    "v1 over IPv6": (b"PROXY TCP6 2001:DB8::7 2001:db8::1 4321 25\r\n", "2001:db8::7"),
    "v1, IPv4 within IPv6": (b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 0 65535\r\n", "192.0.2.7"),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", ""),
    "v1, unknown with something": (b"PROXY UNKNOWN ffff::1 \xff anything 1 2\r\n", ""),
    "v2 over IPv4": (v2(1, V4, FROM_V4), "192.0.2.7"),
    "v2 over IPv6": (v2(1, V6, FROM_V6), "2001:db8::7"),
    "v2 with extensions": (v2(1, V4, FROM_V4 + extra(1, b"h2") + extra(0x20, b"\1\0") + extra(4, b"")), "192.0.2.7"),
    "v2, a health check": (v2(0, 0, b""), ""),
    "v2, a health check with addresses": (v2(0, V4, FROM_V4), ""),
    "v2, a health check with rubbish": (v2(0, 0xFF, b"rubbish"), ""),
    "v2, unspecified": (v2(1, 0, b"anything"), ""),
    "v2 over UDP": (v2(1, 0x12, FROM_V4), ""),
    "v2 over a UNIX socket": (v2(1, 0x31, b"/run/x".ljust(216, b"\0")), ""),
}  # fmt: skip

BAD = {
    "no header": b"EHLO client.test\r\n",
    "another case": b"proxy TCP4 192.0.2.7 203.0.113.1 4321 25\r\n",
    "no protocol": b"PROXY \r\n",
    "another protocol": b"PROXY UDP4 192.0.2.7 203.0.113.1 4321 25\r\n",
    "the wrong protocol": b"PROXY TCP6 192.0.2.7 203.0.113.1 4321 25\r\n",
    "an IPv6 address as IPv4": b"PROXY TCP4 2001:db8::7 2001:db8::1 4321 25\r\n",
    "two blanks": b"PROXY TCP4  192.0.2.7 203.0.113.1 4321 25\r\n",
    "a blank at the end": b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 25 \r\n",
    "a leading zero": b"PROXY TCP4 192.0.2.07 203.0.113.1 4321 25\r\n",
    "a short address": b"PROXY TCP4 192.0.2 203.0.113.1 4321 25\r\n",
    "a name": b"PROXY TCP4 mail.test 203.0.113.1 4321 25\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 2001:db8::1 4321 25\r\n",
    "a bad destination": b"PROXY TCP4 192.0.2.7 203.0.113.256 4321 25\r\n",
    "a port too large": b"PROXY TCP4 192.0.2.7 203.0.113.1 65536 25\r\n",
    "a port with a zero": b"PROXY TCP4 192.0.2.7 203.0.113.1 04321 25\r\n",
    "a port missing": b"PROXY TCP4 192.0.2.7 203.0.113.1 4321\r\n",
    "a signed port": b"PROXY TCP4 192.0.2.7 203.0.113.1 +4321 25\r\n",
    "digits of another script": "PROXY TCP4 192.0.2.7 203.0.113.1 ٤٣ 25\r\n".encode(),
    "a bare LF": b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 25\n",
    "a bare LF in the middle": b"PROXY UNKNOWN x\nEHLO client.test\r\n",
    "a bare CR": b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 25\rEHLO\r\n",
    "an endless line": b"PROXY UNKNOWN " + b"x" * 107,
    "a line of 108 octets": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "another version": v2(1, V4, FROM_V4, version=1),
    "another command": v2(2, V4, FROM_V4),
    "another family": v2(1, 0x41, FROM_V4),
    "another transport": v2(1, 0x13, FROM_V4),
    "too short for its addresses": v2(1, V4, FROM_V4[:-1]),
    "IPv4 said to be IPv6": v2(1, V6, FROM_V4),
    "half an extension": v2(1, V4, FROM_V4 + b"\x04\x00"),
    "an extension that is too long": v2(1, V4, FROM_V4 + b"\x04\x00\x05abcd"),
    "a wrong checksum": v2(1, V4, FROM_V4 + extra(3, b"\1\2\3\4")),
    "a checksum of another length": v2(1, V4, FROM_V4 + extra(3, b"\1\2\3")),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_header_names_the_client_and_its_own_length(what: str) -> None:
    header, address = GOOD[what]
    assert parse(header) == ProxyHeader(address, len(header))
    assert parse(header + b"EHLO client.test\r\n") == ProxyHeader(address, len(header))


@pytest.mark.parametrize("what", GOOD)
def test_nothing_is_decided_before_a_header_is_whole(what: str) -> None:
    header, _ = GOOD[what]
    assert [parse(header[:size]) for size in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize("what", BAD)
def test_what_deviates_is_refused(what: str) -> None:
    with pytest.raises(BadHeader):
        parse(BAD[what])


def test_a_line_of_107_octets_is_the_longest() -> None:
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    assert parse(line) == ProxyHeader("", 107)


def test_the_checksum_is_that_of_rfc_4960() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_a_header_that_matches_its_checksum_is_taken() -> None:
    blank = v2(1, V4, FROM_V4 + extra(3, bytes(4)) + extra(4, b"pad"))
    header = blank.replace(extra(3, bytes(4)), extra(3, struct.pack("!I", crc32c(blank))))
    assert parse(header) == ProxyHeader("192.0.2.7", len(header))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), PORTS, PORTS, st.booleans(), EXTRAS)
def test_any_ipv4_client_is_read_back(
    source: ipaddress.IPv4Address,
    destination: ipaddress.IPv4Address,
    port: int,
    own: int,
    is_text: bool,
    extras: list[tuple[int, bytes]],
) -> None:
    line = f"PROXY TCP4 {source} {destination} {port} {own}\r\n".encode()
    block = addresses(str(source), str(destination), port, own) + b"".join(extra(*each) for each in extras)
    header = line if is_text else v2(1, V4, block)
    assert parse(header) == ProxyHeader(str(source), len(header))


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), PORTS, PORTS, st.booleans())
def test_any_ipv6_client_is_read_back(
    source: ipaddress.IPv6Address, destination: ipaddress.IPv6Address, port: int, own: int, is_text: bool
) -> None:
    line = f"PROXY TCP6 {source.exploded} {destination.exploded} {port} {own}\r\n".encode()
    header = line if is_text else v2(1, V6, addresses(str(source), str(destination), port, own))
    assert parse(header) == ProxyHeader(str(source.ipv4_mapped or source), len(header))


JUNK = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda junk: b"PROXY " + junk),
    st.binary(max_size=200).map(lambda junk: b"PROXY UNKNOWN" + junk),
    st.binary(max_size=200).map(lambda junk: SIGNATURE + junk),
    st.binary(max_size=60).map(lambda junk: SIGNATURE + b"\x21\x11\x00\x20" + junk),
)


@given(JUNK)
def test_any_octets_are_a_header_or_refused_or_in_want_of_more(junk: bytes) -> None:
    try:
        header = parse(junk)
    except BadHeader:
        return
    if header is not None:
        assert header.octets <= len(junk)
        assert header.client_address == "" or ipaddress.ip_address(header.client_address)


@given(JUNK, st.data())
def test_a_decision_stands_whatever_comes_behind_it(junk: bytes, data: st.DataObject) -> None:
    def decision(octets: bytes) -> object:
        try:
            return parse(octets)
        except BadHeader:
            return "refused"

    early = decision(junk[: data.draw(st.integers(0, len(junk)))])
    assert early is None or decision(junk) == early
