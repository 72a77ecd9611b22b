"""The public key of a certificate, and pins on it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.certificates import Pin, public_key

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
