"""The kinds of value that say how a primary is reached, and which of those keys go together."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from fallback_mx.config_fields import address_of, host_of
from fallback_mx.config_problems import Problem
from fallback_mx.config_unfit import quoted, text_of, unfit

Tables = Sequence[Mapping[str, Any]]
AnyAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_PIN = re.compile(r"sha256/[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")


@dataclass(frozen=True, slots=True)
class NextHost:
    """A host, and a port where one of its own was written."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _next_host(value: Any) -> NextHost:
    text = text_of(value, "mail.example.org")
    if address_of(text) is not None or not re.search(r":\d+$", text):
        return NextHost(host_of(text))
    host, _, port = text.rpartition(":")
    if not 1 <= int(port) <= 65535:
        raise unfit(f"{quoted(text)} has a port that there is not", "write a port from 1 to 65535")
    is_bracketed = host.startswith("[") and host.endswith("]")
    return NextHost(host_of(host[1:-1] if is_bracketed else host), int(port))


def _pin(value: Any) -> str:
    text = text_of(value, "sha256/…=")
    if _PIN.fullmatch(text) is None:
        raise unfit(
            f"{quoted(text)} is not a pin",
            "write sha256/ and the base64 of the SHA-256 of the public key, as the log shows it when no pin matches",
        )
    return text


def _source(value: Any) -> AnyAddress:
    text = text_of(value, "192.0.2.2")
    address = address_of(text)
    if address is None:
        raise unfit(f"{quoted(text)} is not an address", 'write an address of this machine, such as "192.0.2.2"')
    if address.is_unspecified or address.is_multicast:
        raise unfit(f"{quoted(text)} is no address to come from", "write an address of this machine, or take it out")
    return address


NextHostField = Annotated[NextHost, PlainValidator(_next_host), PlainSerializer(str, return_type=str)]
PinField = Annotated[str, PlainValidator(_pin)]
SourceAddress = Annotated[AnyAddress, PlainValidator(_source), PlainSerializer(str, return_type=str)]


# What goes together ----------------------------------------------------------------------------------------------


def of_next_hops(tables: Tables) -> list[Problem]:
    """How each primary is reached. An empty list, as `config show` writes it, is a key that is not set."""
    problems: list[Problem] = []
    for index, table in enumerate(tables):
        key = f"primary[{index}]"
        problems += _of_hosts(table, key)
        problems += _of_tls(table, key)
        problems += _of_login(table, key)
        problems += _of_source(table, key)
    return problems


def _list(table: Mapping[str, Any], name: str) -> list[Any]:
    value = table.get(name)
    return value if isinstance(value, list) else []


def hosts_of(table: Mapping[str, Any]) -> list[tuple[str, str, object]]:
    """Key, host as written and port of each, those left out that are wrong in themselves."""
    port = table.get("port", 25)
    found: list[tuple[str, str, object]] = []
    if isinstance(host := table.get("host"), str):
        found.append(("host", host, port))
    for position, text in enumerate(_list(table, "hosts")):
        try:
            host = _next_host(text)
        except PydanticCustomError:
            continue  # reported where the value was read
        found.append((f"hosts[{position}]", host.host, host.port or port))
    return found


def _of_hosts(table: Mapping[str, Any], key: str) -> Iterator[Problem]:
    if "host" in table and _list(table, "hosts"):
        yield Problem(f"{key}.hosts", "host is set too", "write one of them: hosts takes the first place for host")
    seen: set[tuple[str, object]] = set()
    for name, host, port in hosts_of(table):
        if (host, port) in seen:
            yield Problem(f"{key}.{name}", f"{quoted(host)} port {port} stands twice", "write it once")
        seen.add((host, port))
    domains = {str(each).lower().removesuffix(".") for each in _list(table, "domains")}
    if len(domains) > 1 and "host" not in table and not _list(table, "hosts"):
        wrong = f"are {len(domains)}, and there is no host: the MX records of each may lead elsewhere"
        write = 'write host = "mail.example.org" if one server has them all, else a [[primary]] for each domain'
        yield Problem(f"{key}.domains", wrong, write)


def _of_tls(table: Mapping[str, Any], key: str) -> Iterator[Problem]:
    policy = table.get("tls", "opportunistic")
    for name in ("tls_ca_file", "tls_name", "tls_pins"):
        if table.get(name) and policy != "verify":
            wrong = f"is set, and tls is {quoted(policy)}: it would not be looked at"
            yield Problem(f"{key}.{name}", wrong, 'write tls = "verify", or take it out')
    if policy == "verify" and table.get("tls_pins") and table.get("tls_ca_file"):
        wrong = "is set, and tls_pins too: a pinned key needs no authority"
        yield Problem(f"{key}.tls_ca_file", wrong, "take one of them out")
    if policy == "dane":
        for name, host, _ in hosts_of(table):
            if address_of(host) is not None:
                wrong = f'{quoted(host)} is an address, and tls is "dane": TLSA records belong to names'
                yield Problem(f"{key}.{name}", wrong, "write the name of the host")


def _of_login(table: Mapping[str, Any], key: str) -> Iterator[Problem]:
    for here, absent in (("username", "password_file"), ("password_file", "username")):
        if here in table and absent not in table:
            yield Problem(f"{key}.{absent}", f"is missing while {here} is set", "write both, or neither")
    if "username" not in table:
        return
    hosts = hosts_of(table)
    if table.get("tls") == "none" and not (hosts and all(_is_here(host) for _, host, _ in hosts)):
        wrong = 'is "none" while username is set: the password is not sent in clear to another machine'
        yield Problem(f"{key}.tls", wrong, 'write tls = "require", or better "verify"')
    if table.get("announce_client") == "xclient":
        wrong = 'is "xclient" while username is set: XCLIENT begins the session anew, without the login'
        yield Problem(f"{key}.announce_client", wrong, 'write "xforward", or let the primary know us by our address')


def _is_here(host: str) -> bool:
    address = address_of(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _of_source(table: Mapping[str, Any], key: str) -> Iterator[Problem]:
    versions = Counter(
        address.version
        for text in _list(table, "source_address")
        if isinstance(text, str) and (address := address_of(text)) is not None
    )
    for version, count in versions.items():
        if count > 1:
            wrong = f"has {count} IPv{version} addresses"
            yield Problem(f"{key}.source_address", wrong, "write one of each family at most")
    family = table.get("address_family")
    if family in ("ipv4", "ipv6") and versions and int(family[-1]) not in versions:
        other = "IPv6" if family == "ipv4" else "IPv4"
        wrong = f"is {quoted(family)}, and source_address is {other}"
        yield Problem(f"{key}.address_family", wrong, "write the family of source_address, or take one of them out")
