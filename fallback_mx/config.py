"""The configuration: a TOML file in, frozen models out.

`load` reports everything that is wrong with a file at once and returns nothing half-read: either every value is good
or ConfigError is raised. What each key means stands in deploy/fallback-mx.toml, which is the manual.

Only `service` and `cli` read this module. Every other part is given its own settings.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fallback_mx import config_checks, config_customers, config_next_hops, config_problems, config_watching
from fallback_mx.config_customers import Customer
from fallback_mx.config_fields import (
    Command,
    Count,
    CountOrZero,
    Domain,
    Duration,
    DurationOrZero,
    Endpoint,
    FilePath,
    GreetingDelay,
    Host,
    HostName,
    Interval,
    LdapUrl,
    Listen,
    ListenOrNone,
    Name,
    Network,
    Patience,
    Port,
    ReturnOrOff,
    ServerOrNone,
    Size,
    SizeOrZero,
    StorageUrl,
    Switch,
    Text,
    WebUrl,
    Workers,
)
from fallback_mx.config_invoice import Invoice, Product, of_products
from fallback_mx.config_next_hops import NextHostField, PinField, SourceAddress
from fallback_mx.config_problems import ConfigError, Problem, Section
from fallback_mx.config_unfit import quoted
from fallback_mx.config_watching import ControlField, Mailbox, SlowOrOff, WatchedPort, WatchedPortField
from fallback_mx.users import user_name

__all__ = [
    "Bounces",
    "Config",
    "ConfigError",
    "Endpoint",
    "Http",
    "Monitoring",
    "Primary",
    "Problem",
    "Server",
    "Storage",
    "WatchedPort",
    "load",
]

# What a container or a trial sets without a file of its own. Empty means not set.
ENVIRONMENT = {
    "FALLBACK_MX_HOSTNAME": "server.hostname",
    "FALLBACK_MX_LISTEN": "server.listen",
    "FALLBACK_MX_STORAGE": "storage.url",
    "FALLBACK_MX_HTTP": "http.listen",
}
_LISTS = frozenset({"server.listen"})


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Server(_Table):
    """The listener: where senders reach us, under which name, and how much they may bring."""

    hostname: HostName = Field(default_factory=socket.gethostname, examples=["mx2.example.org"])
    listen: Annotated[tuple[Listen, ...], Field(min_length=1)] = Field(
        default=(Endpoint("0.0.0.0", 25), Endpoint("::", 25)),  # noqa: S104 - a mail exchanger is for everyone
        examples=[["0.0.0.0:25", "[::]:25"]],
    )
    tls_certificate: FilePath | None = Field(default=None, examples=["/etc/ssl/fallback-mx.pem"])
    tls_key: FilePath | None = Field(default=None, examples=["/etc/ssl/private/fallback-mx.key"])
    max_message_size: Size = Field(default=50_000_000, examples=["50MB"])
    max_header_size: Size = Field(default=256_000, examples=["256kB"])
    long_lines: Literal["accept", "refuse"] = Field(default="accept", examples=["accept"])
    max_content_memory: SizeOrZero = Field(default=32_000_000, examples=["32MB"])
    max_connections: Count = Field(default=400, examples=[400])
    max_connections_per_client: Count = Field(default=100, examples=[100])
    max_connections_per_network: Count = Field(default=200, examples=[200])
    max_messages_per_session: Count = Field(default=1000, examples=[1000])
    max_recipients: Count = Field(default=100, examples=[100])
    max_errors: Count = Field(default=20, examples=[20])
    max_idle_commands: Count = Field(default=50, examples=[50])
    command_timeout: Interval = Field(default=timedelta(minutes=5), examples=["5m"])
    data_timeout: Interval = Field(default=timedelta(minutes=3), examples=["3m"])
    min_data_rate: SizeOrZero = Field(default=100, examples=["100B"])
    stress_timeout: Interval = Field(default=timedelta(seconds=10), examples=["10s"])
    proxy_protocol_from: tuple[Network, ...] = Field(default=(), examples=[["192.0.2.10"]])
    xclient_from: tuple[Network, ...] = Field(default=(), examples=[["192.0.2.11"]])
    greeting_delay: GreetingDelay = Field(default=timedelta(0), examples=["5s"])
    dnsbl: tuple[Domain, ...] = Field(default=(), examples=[["zen.spamhaus.org"]])
    dnsbl_timeout: Patience = Field(default=timedelta(seconds=2), examples=["2s"])
    workers: Workers = Field(default=0, examples=[0])


class Storage(_Table):
    """The queue's database. `url` may hold a password and is left out of every repr."""

    url: StorageUrl = Field(
        default="sqlite:////var/lib/fallback-mx/queue.db",
        examples=["sqlite:////var/lib/fallback-mx/queue.db"],
        repr=False,
    )
    min_free_space: SizeOrZero = Field(default=500_000_000, examples=["500MB"])
    ledger_retention: Duration = Field(default=timedelta(days=90), examples=["90d"])


class Http(_Table):
    """Health, metrics and status over HTTP. `listen` is None where it is switched off."""

    listen: ListenOrNone = Field(default=Endpoint("127.0.0.1", 8025), examples=["127.0.0.1:8025"])
    public_status: Switch = Field(default=True, examples=[True])
    show_hosts: Switch = Field(default=False, examples=[False])
    status_tokens_file: FilePath | None = Field(default=None, examples=["/etc/fallback-mx/status-tokens"])


class Bounces(_Table):
    """Reports to senders. `smarthost` is None where each goes to the exchangers of its sender's domain."""

    smarthost: ServerOrNone = Field(default=None, examples=["smtp.example.org:25"])


class Monitoring(_Table):
    """What all primaries are watched by. Without `controls` our own network is not told from theirs."""

    controls: tuple[ControlField, ...] = Field(default=(), examples=[["192.0.2.1:53", "198.51.100.1:443"]])


class Primary(_Table):
    """A mail server that we stand in for. Without `host` and `hosts` its next hops are found by MX."""

    name: Name = Field(examples=["main"])
    domains: Annotated[tuple[Domain, ...], Field(min_length=1)] = Field(examples=[["example.org"]])
    host: Host | None = Field(default=None, examples=["mail.example.org"])
    hosts: tuple[NextHostField, ...] = Field(default=(), examples=[["a.example.org", "b.example.org:2525"]])
    port: Port = Field(default=25, examples=[25])
    address_family: Literal["any", "ipv4", "ipv6", "prefer-ipv4", "prefer-ipv6"] = Field(
        default="any", examples=["any"]
    )
    source_address: tuple[SourceAddress, ...] = Field(default=(), examples=[["192.0.2.2"]])
    when_up: Literal["guard", "proxy", "accept"] = Field(default="guard", examples=["guard"])
    grace_after: ReturnOrOff = Field(default=timedelta(minutes=10), examples=["10m"])
    greylist: ReturnOrOff = Field(default=None, examples=["5m"])
    etrn_from: tuple[Network, ...] | None = Field(default=None, examples=[["192.0.2.20"]])
    routing_characters: Literal["refuse", "accept"] = Field(default="refuse", examples=["refuse"])
    interval: Interval = Field(default=timedelta(seconds=10), examples=["10s"])
    rise: Count = Field(default=2, examples=[2])
    fall: Count = Field(default=3, examples=[3])
    probe: Literal["connect", "banner", "ehlo", "starttls", "transaction"] = Field(
        default="starttls", examples=["starttls"]
    )
    probe_recipient: Mailbox | None = Field(default=None, examples=["postmaster@example.org"])
    down_ports: tuple[WatchedPortField, ...] = Field(default=(), examples=[[993]])
    alert_ports: tuple[WatchedPortField, ...] = Field(default=(), examples=[[993, 443]])
    slow_after: SlowOrOff = Field(default=None, examples=["5s"])
    slow_for: Interval = Field(default=timedelta(minutes=5), examples=["5m"])
    max_connections: Count = Field(default=5, examples=[5])
    tls: Literal["opportunistic", "none", "require", "verify", "dane"] = Field(
        default="opportunistic", examples=["opportunistic"]
    )
    tls_ca_file: FilePath | None = Field(default=None, examples=["/etc/fallback-mx/authority.pem"])
    tls_name: HostName | None = Field(default=None, examples=["mail.example.org"])
    tls_pins: tuple[PinField, ...] = Field(default=(), examples=[["sha256/…="]])
    username: Text | None = Field(default=None, examples=["fallback-mx"])
    password_file: FilePath | None = Field(default=None, examples=["/etc/fallback-mx/password"])
    announce_client: Literal["none", "xforward", "xclient"] = Field(default="none", examples=["none"])
    on_refusal: Literal["hold", "bounce", "discard"] = Field(default="hold", examples=["hold"])
    on_expiry: Literal["hold", "bounce", "discard"] = Field(default="hold", examples=["hold"])
    lifetime: Duration = Field(default=timedelta(days=30), examples=["30d"])
    recovery_guard: DurationOrZero = Field(default=timedelta(minutes=15), examples=["15m"])
    retain_delivered: DurationOrZero = Field(default=timedelta(0), examples=["24h"])
    unknown_recipients: Literal["accept", "defer", "refuse"] = Field(default="accept", examples=["accept"])
    recipients_file: FilePath | None = Field(default=None, examples=["/etc/fallback-mx/recipients"])
    recipients_command: Command | None = Field(default=None, examples=[["/usr/local/bin/list-recipients"]])
    recipients_url: WebUrl | None = Field(default=None, examples=["https://example.org/recipients.txt"], repr=False)
    recipients_ldap: LdapUrl | None = Field(default=None, examples=["ldaps://ldap.example.org"])
    recipients_ldap_base: Text | None = Field(default=None, examples=["ou=people,dc=example,dc=org"])
    recipients_ldap_filter: Text = Field(default="(mail=*)", examples=["(mail=*)"])
    recipients_ldap_attribute: Text = Field(default="mail", examples=["mail"])
    recipients_ldap_user: Text | None = Field(default=None, examples=["cn=reader,dc=example,dc=org"])
    recipients_ldap_password_file: FilePath | None = Field(default=None, examples=["/etc/fallback-mx/ldap-password"])
    recipients_refresh: Interval = Field(default=timedelta(minutes=15), examples=["15m"])
    recipients_stale_after: Duration = Field(default=timedelta(days=1), examples=["1d"])
    call_ahead_per_minute: CountOrZero = Field(default=0, examples=[60])
    customer: Name | None = Field(default=None, examples=["Example"])
    agreement: Text = Field(default="kerio-cloud", examples=["kerio-cloud"])
    region: Text | None = Field(default=None, examples=["cloud/EU"])
    maintenance_notice: DurationOrZero = Field(default=timedelta(days=1), examples=["1d"])

    @property
    def next_hosts(self) -> tuple[Endpoint, ...]:
        """The hosts that are configured, each with its port; none where it goes by MX."""
        if self.host is not None:
            return (Endpoint(self.host, self.port),)
        return tuple(Endpoint(each.host, each.port or self.port) for each in self.hosts)


class Config(_Table):
    server: Server = Field(default_factory=Server)
    storage: Storage = Field(default_factory=Storage)
    http: Http = Field(default_factory=Http)
    bounces: Bounces = Field(default_factory=Bounces)
    monitor: Monitoring = Field(default_factory=Monitoring)
    primaries: tuple[Primary, ...] = Field(alias="primary")
    customers: tuple[Customer, ...] = Field(default=(), alias="customer")
    invoice: Invoice = Field(default_factory=Invoice)
    products: tuple[Product, ...] = Field(default=(), alias="product")

    @classmethod
    def table_names(cls) -> frozenset[str]:
        """The names of the file's tables, as written between brackets."""
        return frozenset(field.alias or name for name, field in cls.model_fields.items())

    def shown(self) -> dict[str, Any]:
        """Every setting in force, shaped and spelled as in the file, passwords hidden."""
        return self.model_dump(mode="json", by_alias=True)


SERVER = Section("[server]", Server)
STORAGE = Section("[storage]", Storage)
HTTP = Section("[http]", Http)
BOUNCES = Section("[bounces]", Bounces)
MONITOR = Section("[monitor]", Monitoring)
PRIMARY = Section("[[primary]]", Primary)
CUSTOMER = Section("[[customer]]", Customer)
INVOICE = Section("[invoice]", Invoice)
PRODUCT = Section("[[product]]", Product)
SECTIONS = (SERVER, STORAGE, HTTP, BOUNCES, MONITOR, PRIMARY, CUSTOMER, INVOICE, PRODUCT)


def load(
    path: Path | str,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The configuration in `path`, with `overrides` ({"server.listen": ["127.0.0.1:2525"]}) in place of its values.

    `environ` (the process's own where it is None) is looked through for the variables in ENVIRONMENT: they go before
    the file, and `overrides` before them. Raises ConfigError with every problem found.
    """
    path = Path(path)
    raw = _read(path)
    origins = _override(raw, os.environ if environ is None else environ, overrides or {})
    problems = [config_problems.of_top_level(key, SECTIONS) for key in raw if key not in Config.table_names()]
    server = _table(raw.get("server", {}), "server", SERVER, problems)
    storage = _table(raw.get("storage", {}), "storage", STORAGE, problems)
    http = _table(raw.get("http", {}), "http", HTTP, problems)
    bounces = _table(raw.get("bounces", {}), "bounces", BOUNCES, problems)
    monitor = _table(raw.get("monitor", {}), "monitor", MONITOR, problems)
    tables = _primary_tables(raw, problems)
    primaries = [_table(table, f"primary[{index}]", PRIMARY, problems) for index, table in enumerate(tables)]
    customer_tables = config_customers.tables_of(raw, "customer", problems)
    customers = [_table(table, f"customer[{index}]", CUSTOMER, problems) for index, table in enumerate(customer_tables)]
    problems += config_customers.of_customers(customer_tables, tables)
    invoice = _table(raw.get("invoice", {}), "invoice", INVOICE, problems)
    product_tables = config_customers.tables_of(raw, "product", problems)
    products = [_table(table, f"product[{index}]", PRODUCT, problems) for index, table in enumerate(product_tables)]
    problems += of_products(product_tables, raw.get("invoice", {}))
    problems += config_checks.of_certificate(raw)
    problems += config_checks.of_primaries(tables)
    problems += config_checks.of_recipients(tables)
    problems += config_next_hops.of_next_hops(tables)
    problems += config_watching.of_watching(tables, raw.get("monitor"))
    if server is not None:
        problems += config_checks.of_listeners(server.listen, http.listen if http else None)
        problems += config_checks.of_lists(server.dnsbl)
        problems += config_checks.of_loops(tables, server.hostname, server.listen)
        smarthost = bounces.smarthost if bounces else None
        problems += config_checks.of_smarthost(smarthost, server.hostname, server.listen)
    if problems:
        raise ConfigError(path, [_with_origin(problem, origins) for problem in problems])
    return Config(
        server=server,
        storage=storage,
        http=http,
        bounces=bounces,
        monitor=monitor,
        primary=tuple(primaries),
        customer=tuple(customers),
        invoice=invoice,
        product=tuple(products),
    )


def _read(path: Path) -> dict[str, Any]:
    """The file's tables. Every way in which a file cannot be read is one problem."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        problem = Problem("", "there is no such file", "write its path after --config or in FALLBACK_MX_CONFIG")
    except PermissionError:
        user = user_name(os.geteuid())
        problem = Problem("", f"{user} may not read it", "run this as the service's user (runuser -u …)")
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror}", "name a file that this user may read")
    except UnicodeDecodeError as error:
        problem = Problem("", f"is not UTF-8 text (at octet {error.start})", "save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        problem = config_problems.of_syntax(error)
    raise ConfigError(path, [problem])


def _override(raw: dict[str, Any], environ: Mapping[str, str], overrides: Mapping[str, object]) -> dict[str, str]:
    """Put the values that go before the file's into `raw`; the keys that came from the environment, with its names."""
    origins = {key: variable for variable, key in ENVIRONMENT.items() if environ.get(variable)}
    values: dict[str, object] = {
        key: environ[variable].split(",") if key in _LISTS else environ[variable] for key, variable in origins.items()
    }
    for key, value in (values | dict(overrides)).items():
        table, _, name = key.partition(".")
        section = raw.setdefault(table, {})
        if isinstance(section, dict):
            section[name] = value
    return {key: variable for key, variable in origins.items() if key not in overrides}


def _with_origin(problem: Problem, origins: Mapping[str, str]) -> Problem:
    variable = origins.get(problem.key.partition("[")[0])
    return replace(problem, wrong=f"{problem.wrong} (set by {variable})") if variable else problem


def _table(raw: object, key: str, section: Section, problems: list[Problem]) -> Any:
    """The model of one table, or None with its problems added."""
    if not isinstance(raw, dict):
        wrong = f"is not a table: {quoted(raw)}" if not isinstance(raw, list) else "has double brackets"
        problems.append(Problem(key, wrong, f"write {section.heading} on a line of its own, its keys below it"))
        return None
    try:
        return section.model.model_validate(raw)
    except ValidationError as error:
        problems += config_problems.of_section(error, key, section, SECTIONS)
        return None


def _primary_tables(raw: Mapping[str, Any], problems: list[Problem]) -> list[dict[str, Any]]:
    tables = raw.get("primary", [])
    if isinstance(tables, dict):
        problems.append(Problem("primary", "has single brackets", "write [[primary]], once for every primary"))
    elif not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problems.append(Problem("primary", "is not a table", "write [[primary]] on a line of its own"))
    elif not tables:
        wrong = "is missing: there is no server to stand in for"
        problems.append(Problem("primary", wrong, "write a [[primary]] table with name, domains and host"))
    else:
        return tables
    return []
