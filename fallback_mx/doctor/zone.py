"""Records as lines of a zone file, ready to paste (RFC 1035, section 5)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from fallback_mx.smtp.dane import Record

PLACEHOLDER = "192.0.2.2"
"""Stands where nobody here knows the address (RFC 5737)."""


def absolute(name: str) -> str:
    return f"{name.rstrip('.')}."


def mx(domain: str, preference: int, host: str) -> str:
    return f"{absolute(domain)} IN MX {preference} {absolute(host)}"


def addresses(host: str, found: Sequence[str]) -> tuple[str, ...]:
    if not found:
        return (f"{absolute(host)} IN A {PLACEHOLDER} ; this machine's public address here",)
    return tuple(f"{absolute(host)} IN {_kind(address)} {address}" for address in found)


def _kind(address: str) -> str:
    return "A" if ipaddress.ip_address(address).version == 4 else "AAAA"


def ptr(address: str, host: str) -> str:
    return f"{ipaddress.ip_address(address).reverse_pointer}. IN PTR {absolute(host)}"


def tlsa(host: str, port: int, record: Record) -> str:
    parameters = f"{record.usage} {record.selector} {record.matching}"
    return f"_{port}._tcp.{absolute(host)} IN TLSA {parameters} {record.data.hex()}"


def txt(name: str, text: str) -> str:
    return f'{absolute(name)} IN TXT "{text}"'


def is_name(host: str) -> bool:
    """Whether this can stand in a record as the name of a host: no address, and more than one label."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host
    return False
