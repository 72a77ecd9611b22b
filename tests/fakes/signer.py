"""A sender's domain that signs its mail with DKIM: its key, its record in DNS, and dkimpy to sign with it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache

import dkim
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SELECTOR = "s1"


@dataclass(frozen=True)
class Signer:
    private: bytes
    public: bytes

    @classmethod
    @cache
    def made(cls) -> Signer:
        key = rsa.generate_private_key(65537, 2048)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return cls(private, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def sign(
        self,
        message: bytes,
        domain: str,
        *,
        algorithm: bytes = b"rsa-sha256",
        says_length: bool = False,
        canonicalize: tuple[bytes, bytes] = (b"relaxed", b"simple"),
    ) -> bytes:
        header: bytes = dkim.sign(
            message,
            SELECTOR.encode(),
            domain.encode(),
            self.private,
            signature_algorithm=algorithm,
            length=says_length,
            canonicalize=canonicalize,
        )
        return header + message

    def verifies(self, message: bytes, domain: str) -> bool:
        """Whether the first signature on it is good, by dkimpy, with this key at this domain."""
        record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(self.public)
        records = {name_of(domain).encode(): record}
        return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: records.get(name)))

    def record(self, more: str = "") -> list[str]:
        """The TXT record, in strings of the length that DNS allows."""
        text = f"v=DKIM1; k=rsa; {more}p={base64.b64encode(self.public).decode()}"
        return [" ".join(f'"{text[start : start + 250]}"' for start in range(0, len(text), 250))]


def name_of(domain: str) -> str:
    return f"{SELECTOR}._domainkey.{domain}."
