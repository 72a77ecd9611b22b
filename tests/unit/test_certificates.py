"""The public key of a certificate, pins on it, and its end."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ssl
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.certificates import Pin, dns_names, expires_at, public_key, validity

KEYS = [
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
]


def self_signed(key) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 2**100)
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2027, 1, 1, tzinfo=UTC)
    )
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize("key", KEYS, ids=["rsa", "ec", "ed25519"])
def test_the_key_of_a_certificate_is_found_whatever_its_kind(key) -> None:
    expected = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public_key(self_signed(key)) == expected


def test_a_pin_is_the_hash_of_the_key() -> None:
    [_, key, _] = KEYS
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode()
    assert str(Pin.of(self_signed(key))) == text
    assert Pin.parse(text) == Pin.of(self_signed(key))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sha1/abc=", "begin with sha256/"),
        ("", "begin with sha256/"),
        ("sha256/%%%", "base64"),
        ("sha256/AAAA", "3 octets"),
    ],
)
def test_what_is_no_pin_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Pin.parse(text)


def test_the_end_of_a_certificate_is_read_from_it() -> None:
    after_the_century = datetime(2071, 2, 3, 4, 5, 6, tzinfo=UTC)
    for not_after in (datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC), after_the_century):
        issued = trustme.CA().issue_cert("mail.test", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=not_after)
        pem = issued.cert_chain_pems[0].bytes().decode()
        assert expires_at(ssl.PEM_cert_to_DER_cert(pem)) == not_after


@given(st.binary(max_size=300))
def test_octets_that_are_no_certificate_have_no_end(octets: bytes) -> None:
    assert expires_at(octets) is None


@given(st.integers(0, 400), st.integers(0, 255))
def test_the_end_of_a_certificate_with_one_octet_changed_raises_nothing(position: int, octet: int) -> None:
    certificate = bytearray(self_signed(KEYS[1]))
    certificate[position % len(certificate)] = octet
    expires_at(bytes(certificate))


@given(st.binary(max_size=300))
def test_octets_that_are_no_certificate_raise_nothing_but_value_error(octets: bytes) -> None:
    with contextlib.suppress(ValueError):
        public_key(octets)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_certificate_with_one_octet_changed_raises_nothing_but_value_error(position: int, octet: int) -> None:
    certificate = bytearray(self_signed(KEYS[1]))
    certificate[position % len(certificate)] = octet
    with contextlib.suppress(ValueError):
        public_key(bytes(certificate))


NAMED = ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("mx2.example.com").cert_chain_pems[0].bytes().decode())

# Dates and names ----------------------------------------------------------------------------------------------------


def test_the_dates_and_names_of_a_certificate_are_those_it_was_made_with() -> None:
    begins, ends = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2050, 6, 7, 8, 9, 10, tzinfo=UTC)
    issued = trustme.CA().issue_cert("MX2.example.com", "*.example.org", "192.0.2.1", not_before=begins, not_after=ends)
    certificate = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    assert validity(certificate) == (begins, ends)
    assert dns_names(certificate) == ("mx2.example.com", "*.example.org")


def test_a_certificate_without_alternative_names_has_none() -> None:
    certificate = self_signed(KEYS[1])
    assert dns_names(certificate) == ()
    assert validity(certificate) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


@given(st.integers(0, 600), st.binary(max_size=8))
def test_a_damaged_certificate_is_an_error_or_read_and_nothing_else(at: int, damage: bytes) -> None:
    whole = NAMED
    damaged = whole[:at] + damage + whole[at + len(damage) :]
    for read in (validity, dns_names):
        with contextlib.suppress(ValueError):
            read(damaged)


@given(st.integers(0, 600))
def test_a_certificate_that_is_cut_off_has_no_dates(at: int) -> None:
    if at < len(NAMED):
        with pytest.raises(ValueError):
            validity(NAMED[:at])
