"""What no single value shows: keys of the configuration that do not go together.

These read the file's own tables, so that they speak up even where a value elsewhere in the same table is wrong.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fallback_mx.config_fields import Endpoint
from fallback_mx.config_next_hops import hosts_of
from fallback_mx.config_problems import Problem
from fallback_mx.config_unfit import quoted
from fallback_mx.domains import normalised
from fallback_mx.durations import format_duration, parse_duration

# As in rules/bouncing.py.
REPORTS = "reports"
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
        if name == REPORTS:
            wrong = f"{quoted(name)} is what the queue calls reports to senders"
            problems.append(Problem(f"primary[{index}].name", wrong, "write another name"))
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


LISTS = ("recipients_file", "recipients_command", "recipients_url", "recipients_ldap")


def of_recipients(tables: Tables) -> list[Problem]:
    """A primary has one list, LDAP wants its keys together, and a list must be read before it is stale."""
    problems = []
    for index, table in enumerate(tables):
        key = f"primary[{index}]"
        lists = [name for name in LISTS if name in table]
        problems += [
            Problem(f"{key}.{name}", f"{lists[0]} is set too", "write one of them: a primary has one list")
            for name in lists[1:]
        ]
        problems += _of_ldap(table, key)
        refresh = _duration(table.get("recipients_refresh", "15m"))
        stale_after = _duration(table.get("recipients_stale_after", "1d"))
        if refresh is not None and stale_after is not None and refresh >= stale_after:
            wrong = f"is no longer than recipients_refresh ({format_duration(refresh)})"
            problems.append(Problem(f"{key}.recipients_stale_after", wrong, f'write "{format_duration(refresh * 4)}"'))
    return problems


def _of_ldap(table: Mapping[str, Any], key: str) -> Iterator[Problem]:
    if "recipients_ldap" in table:
        if "recipients_ldap_base" not in table:
            write = 'write recipients_ldap_base = "ou=people,dc=example,dc=org"'
            yield Problem(f"{key}.recipients_ldap_base", "is missing while recipients_ldap is set", write)
        for here, absent in (("user", "password_file"), ("password_file", "user")):
            if f"recipients_ldap_{here}" in table and f"recipients_ldap_{absent}" not in table:
                wrong = f"is missing while recipients_ldap_{here} is set"
                yield Problem(f"{key}.recipients_ldap_{absent}", wrong, "write both, or neither")
    else:
        # A default that is written out, as `config show` does, goes with every list.
        for name in ("base", "user", "password_file"):
            if f"recipients_ldap_{name}" in table:
                wrong = "is set, and recipients_ldap is not"
                yield Problem(f"{key}.recipients_ldap_{name}", wrong, 'write recipients_ldap = "ldaps://…", too')


def _duration(value: object) -> timedelta | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except ValueError:
        return None  # reported where the value was read


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
        for name, host, port in hosts_of(table):
            bare = host.lower().removesuffix(".")
            if any(_reaches(bare, hostname, endpoint) for endpoint in listen if endpoint.port == port):
                wrong = f"{quoted(host)} port {port} is where this service itself listens"
                write = "write the name or address of the primary"
                problems.append(Problem(f"primary[{index}].{name}", wrong, write))
    return problems


def of_smarthost(smarthost: Endpoint | None, hostname: str, listen: Sequence[Endpoint]) -> list[Problem]:
    """A smarthost that is this very service: it takes no mail for strangers."""
    if smarthost is None:
        return []
    ours = [endpoint for endpoint in listen if endpoint.port == smarthost.port]
    if not any(_reaches(smarthost.host, hostname, endpoint) for endpoint in ours):
        return []
    wrong = f"{quoted(str(smarthost))} is where this service itself listens"
    return [Problem("bounces.smarthost", wrong, "write the name and port of another mail server")]


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
