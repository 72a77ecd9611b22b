"""What no single value shows: keys of the configuration that do not go together.

These read the file's own tables, so that they speak up even where a value elsewhere in the same table is wrong.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fallback_mx.config_fields import Endpoint, quoted
from fallback_mx.config_problems import Problem
from fallback_mx.domains import normalised

Tables = Sequence[Mapping[str, Any]]


def of_certificate(raw: Mapping[str, Any]) -> list[Problem]:
    """STARTTLS wants both halves."""
    server = raw.get("server")
    if not isinstance(server, dict):
        return []
    for here, absent in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if here in server and absent not in server:
            return [Problem(f"server.{absent}", f"is missing while {here} is set", f'write {absent} = "/path/to/file"')]
    return []


def of_primaries(tables: Tables) -> list[Problem]:
    """Names and domains that stand twice: mail for a domain has one primary to go to."""
    problems = []
    names: dict[str, int] = {}
    owners: dict[str, int] = {}
    for index, table in enumerate(tables):
        name = table.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            wrong = f"{quoted(name)} is already the name of primary[{names[name]}]"
            problems.append(Problem(f"primary[{index}].name", wrong, "write another name"))
        for position, domain in _domains(table):
            if domain in owners:
                whose = (
                    "stands twice here" if owners[domain] == index else f"already stands in primary[{owners[domain]}]"
                )
                key = f"primary[{index}].domains[{position}]"
                problems.append(Problem(key, f"{quoted(domain)} {whose}", "write it once"))
            owners.setdefault(domain, index)
    return problems


def _domains(table: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    domains = table.get("domains")
    for position, text in enumerate(domains if isinstance(domains, list) else ()):
        try:
            yield position, normalised(text)
        except (ValueError, AttributeError):
            continue  # reported where the value was read


def of_listeners(smtp: Sequence[Endpoint], http: Endpoint | None) -> list[Problem]:
    """An address can be listened on once."""
    problems = [
        Problem(f"server.listen[{index}]", f"{quoted(str(endpoint))} stands twice", "write it once")
        for index, endpoint in enumerate(smtp)
        if endpoint.port and endpoint in smtp[:index]
    ]
    if http is not None and http.port and http in smtp:
        problems.append(Problem("http.listen", f"{quoted(str(http))} is in server.listen too", "write another port"))
    return problems


def of_lists(zones: Sequence[str]) -> list[Problem]:
    """A DNS list is asked once."""
    return [
        Problem(f"server.dnsbl[{index}]", f"{quoted(zone)} stands twice", "write it once")
        for index, zone in enumerate(zones)
        if zone in zones[:index]
    ]


def of_loops(tables: Tables, hostname: str, listen: Sequence[Endpoint]) -> list[Problem]:
    """A primary that is this very service: mail would go round until its hop count ends it."""
    problems = []
    for index, table in enumerate(tables):
        host, port = table.get("host"), table.get("port", 25)
        if not isinstance(host, str):
            continue
        if any(
            _reaches(host.lower().removesuffix("."), hostname, endpoint) for endpoint in listen if endpoint.port == port
        ):
            wrong = f"{quoted(host)} port {port} is where this service itself listens"
            problems.append(Problem(f"primary[{index}].host", wrong, "write the name or address of the primary"))
    return problems


def _reaches(host: str, hostname: str, endpoint: Endpoint) -> bool:
    if host == hostname:
        return True
    return any(
        target == own or (own.is_unspecified and target.is_loopback and own.version == target.version)
        for target in _addresses(host)
        for own in _addresses(endpoint.host)
        if not target.is_unspecified  # reported where the value was read
    )


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses that a host stands for without asking a name server."""
    try:
        return [ipaddress.ip_address(text) for text in (("127.0.0.1", "::1") if host == "localhost" else (host,))]
    except ValueError:
        return []
