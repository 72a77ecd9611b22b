"""What a person may write in the configuration, and what they are told when it is not right."""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from fallback_mx.config import ENVIRONMENT, Config, ConfigError, Endpoint, load

PRIMARY = '[[primary]]\nname = "main"\ndomains = ["example.org"]\nhost = "mail.example.org"\n'


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "fallback-mx.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems_of(path: Path, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, **more)  # type: ignore[arg-type]
    return [str(problem) for problem in caught.value.problems]


def test_a_name_and_a_domain_are_all_that_must_be_written(written):
    config = load(written('[[primary]]\nname = "main"\ndomains = ["example.org"]\n'), environ={})
    assert config.server.listen == (Endpoint("0.0.0.0", 25), Endpoint("::", 25))
    assert config.server.hostname == socket.gethostname()
    assert config.storage.url == "sqlite:////var/lib/fallback-mx/queue.db"
    assert config.http.listen == Endpoint("127.0.0.1", 8025)
    assert config.primaries[0].host is None


def test_text_becomes_durations_and_octets(written):
    config = load(
        written(
            '[server]\nmax_message_size = "10MiB"\n[storage]\nmin_free_space = "0B"\n'
            + PRIMARY
            + 'interval = "500ms"\n'
        ),
        environ={},
    )
    assert config.primaries[0].interval == timedelta(milliseconds=500)
    assert (config.server.max_message_size, config.storage.min_free_space) == (10 * 1024 * 1024, 0)


def test_domains_are_compared_in_one_form(written):
    text = PRIMARY.replace('"example.org"', '"Example.ORG.", "MÜLLER.example", "straße.example"')
    domains = load(written(text), environ={}).primaries[0].domains
    assert domains == ("example.org", "xn--mller-kva.example", "xn--strae-oqa.example")


def test_an_empty_http_listen_switches_http_off(written):
    assert load(written('[http]\nlisten = ""\n' + PRIMARY), environ={}).http.listen is None


def test_grace_is_on_and_greylisting_off_where_nothing_is_written_and_off_is_written_as_off(written):
    usual = load(written(PRIMARY), environ={})
    assert (usual.primaries[0].grace_after, usual.primaries[0].greylist) == (timedelta(minutes=10), None)
    turned = load(written(PRIMARY + 'grace_after = "off"\ngreylist = "5m"\n'), environ={})
    assert (turned.primaries[0].grace_after, turned.primaries[0].greylist) == (None, timedelta(minutes=5))
    assert (turned.shown()["primary"][0]["grace_after"], usual.shown()["primary"][0]["greylist"]) == ("off", "off")


def test_an_ipv6_address_is_written_back_in_brackets(written):
    config = load(written('[server]\nlisten = ["[::1]:2525"]\n' + PRIMARY), environ={})
    assert config.server.listen == (Endpoint("::1", 2525),)
    assert str(config.server.listen[0]) == "[::1]:2525"


def test_addresses_and_networks_are_written_back_as_they_stood(written):
    text = '[server]\nproxy_protocol_from = ["192.0.2.10", "10.1.0.0/16", "2001:DB8::/32", "::1"]\n' + PRIMARY
    shown = load(written(text), environ={}).shown()["server"]["proxy_protocol_from"]
    assert shown == ["192.0.2.10", "10.1.0.0/16", "2001:db8::/32", "::1"]


def test_who_may_say_etrn_is_looked_up_where_nothing_is_written_and_nobody_where_the_list_is_empty(written):
    assert load(written(PRIMARY), environ={}).primaries[0].etrn_from is None
    nobody = load(written(PRIMARY + "etrn_from = []\n"), environ={})
    assert nobody.primaries[0].etrn_from == ()
    assert nobody.shown()["primary"][0]["etrn_from"] == []


def test_the_models_are_frozen(written):
    config = load(written(PRIMARY), environ={})
    with pytest.raises(ValidationError, match="frozen"):
        config.primaries[0].port = 26  # type: ignore[misc]


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_what_is_shown_can_be_written_and_read_again(written):
    text = '[server]\nlisten = ["127.0.0.1:2525"]\n[http]\nlisten = ""\n' + PRIMARY + 'lifetime = "5d"\n'
    config = load(written(text), environ={})
    shown = config.shown()
    assert shown["primary"][0]["lifetime"] == "5d"
    assert shown["server"]["listen"] == ["127.0.0.1:2525"]
    assert json.loads(json.dumps(shown)) == shown
    assert load(written(_as_toml(shown)), environ={}) == config


def _as_toml(shown: dict) -> str:
    lines = []
    for heading, tables in (("[server]", [shown["server"]]), ("[storage]", [shown["storage"]]),
                            ("[http]", [shown["http"]]), ("[bounces]", [shown["bounces"]]),
                            ("[monitor]", [shown["monitor"]]),
                            ("[[primary]]", shown["primary"])):  # fmt: skip
        for table in tables:
            lines.append(heading)
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://mx:geheim@db.example.org/mx",
        "postgresql+psycopg://mx@db.example.org/mx?password=geheim",
        "postgresql+psycopg://mx@db.example.org/mx?sslmode=require&sslpassword=geheim",
    ],
)
def test_a_database_password_is_shown_nowhere(written, url):
    config = load(written(f'[storage]\nurl = "{url}"\n' + PRIMARY), environ={})
    assert config.storage.url == url
    assert "geheim" not in json.dumps(config.shown()) + repr(config) + str(config)
    assert "db.example.org" in config.shown()["storage"]["url"]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "mysql", "postgresql+asyncpg", "nonsense:"])
def test_a_database_password_is_in_no_error(written, scheme):
    text = f'[storage]\nurl = "{scheme}://mx:geheim@db.example.org/mx"\n' + PRIMARY
    assert "geheim" not in "".join(problems_of(written(text)))


# --- what is wrong ---------------------------------------------------------------------------------------------------

# Each pair: lines below a heading, and the one problem they must give.
SERVER_MISTAKES = [
    ('listen = "0.0.0.0:25"', 'server.listen: "0.0.0.0:25" is not a list; write listen = ["0.0.0.0:25", "[::]:25"]'),
    ("listen = []", 'server.listen: is an empty list; write listen = ["0.0.0.0:25", "[::]:25"]'),
    ("listen = [25]", 'server.listen[0]: 25 is a port alone; write an address and a port: "0.0.0.0:25"'),
    ('listen = ["25"]', 'server.listen[0]: "25" is a port alone; write an address and a port: "0.0.0.0:25"'),
    ('listen = ["0.0.0.0"]',
     'server.listen[0]: "0.0.0.0" has no port; write an address and a port, for example "0.0.0.0:25"'),
    ('listen = [":25"]',
     'server.listen[0]: ":25" has no address; write "0.0.0.0:25" for every IPv4 address, "[::]:25" for IPv6'),
    ('listen = ["::1:25"]',
     'server.listen[0]: "::1:25" lacks brackets; write an IPv6 address in brackets, for example "[::1]:25"'),
    ('listen = ["0.0.0.0:99999"]',
     'server.listen[0]: "0.0.0.0:99999" has a port above 65535; write a port from 1 to 65535'),
    ('listen = ["mx_2!:25"]',
     "server.listen[0]: \"mx_2!\" is not an address: 'mx_2!' cannot be a part of a domain name; "
     'write a name such as "127.0.0.1"'),
    ('listen = ["127.0.0.1:25", "127.0.0.1:25"]', 'server.listen[1]: "127.0.0.1:25" stands twice; write it once'),
    ('hostname = ""', 'server.hostname: "" is not a host name: it is empty; write a name such as "mx2.example.org"'),
    ("hostname = 5", 'server.hostname: 5 is not text; write text in double quotes, for example "mx2.example.org"'),
    ('hostname = "10.0.0.1"',
     'server.hostname: "10.0.0.1" is not a host name: it is an address, not a name; '
     'write a name such as "mx2.example.org"'),
    ('tls_certificate = "/c.pem"',
     'server.tls_key: is missing while tls_certificate is set; write tls_key = "/path/to/file"'),
    ('tls_key = "/k.pem"',
     'server.tls_certificate: is missing while tls_key is set; write tls_certificate = "/path/to/file"'),
    ('tls_certificate = ""\ntls_key = "/k.pem"',
     "server.tls_certificate: is empty; write the path of a file, or take the key out"),
    ("max_message_size = 50", 'server.max_message_size: is a number without a unit: 50; '
     'write a size in quotes, for example "50MB"'),
    ('max_message_size = "50 MB"', 'server.max_message_size: "50 MB" is not a size; '
     'write a number and one of B, kB, MB, GB, KiB, MiB, GiB, for example "50MB"'),
    ('max_message_size = "0MB"', 'server.max_message_size: "0MB" is too small; write "1B" or more'),
    ("max_connections = 0", "server.max_connections: 0 is too small; write 1 or more"),
    ("max_recipients = 1000000", "server.max_recipients: 1000000 is too large; write 100000 or less"),
    ('max_recipients = "100"', 'server.max_recipients: "100" is not a whole number; write max_recipients = 100'),
    ("workers = 65", "server.workers: 65 is too large; write 64 or less"),
    ("workers = -1", "server.workers: -1 is too small; write 0 or more"),
    ("max_recipients = true", "server.max_recipients: true is not a whole number; write max_recipients = 100"),
    ('greeting_delay = "1m"', 'server.greeting_delay: "1m" is too long; write "30s" or less'),
    ("greeting_delay = 5", 'server.greeting_delay: is a number without a unit: 5; '
     'write a duration in quotes, for example "5s"'),
    ('dnsbl = "zen.spamhaus.org"',
     'server.dnsbl: "zen.spamhaus.org" is not a list; write dnsbl = ["zen.spamhaus.org"]'),
    ('dnsbl = ["https://www.spamhaus.org/"]',
     "server.dnsbl[0]: \"https://www.spamhaus.org/\" is not a domain: 'https://www' cannot be "
     'a part of a domain name; write a name such as "example.org"'),
    ('dnsbl = ["zen.spamhaus.org", "Zen.Spamhaus.org."]',
     'server.dnsbl[1]: "zen.spamhaus.org" stands twice; write it once'),
    ('dnsbl_timeout = "1m"', 'server.dnsbl_timeout: "1m" is too long; write "10s" or less'),
    ('dnsbl_timeout = "0s"', 'server.dnsbl_timeout: "0s" is too short; write "100ms" or more'),
    ("max_conections = 5", "server.max_conections: is not a key of [server]; did you mean max_connections?"),
    ('domains = ["example.org"]', "server.domains: is not a key of [server]; write it under [[primary]]"),
    ('max_header_size = "0kB"', 'server.max_header_size: "0kB" is too small; write "1B" or more'),
    ('max_header_size = 256', 'server.max_header_size: is a number without a unit: 256; '
     'write a size in quotes, for example "256MB"'),
    ('long_lines = "break"', 'server.long_lines: "break" is not known here; write "accept" or "refuse"'),
    ('max_content_memory = "lots"', 'server.max_content_memory: "lots" is not a size; '
     'write a number and one of B, kB, MB, GB, KiB, MiB, GiB, for example "50MB"'),
    ("max_connections_per_client = 0", "server.max_connections_per_client: 0 is too small; write 1 or more"),
    ("max_connections_per_network = 1.5", "server.max_connections_per_network: 1.5 is not a whole number; "
     "write max_connections_per_network = 200"),
    ("max_messages_per_session = 0", "server.max_messages_per_session: 0 is too small; write 1 or more"),
    ("max_errors = -1", "server.max_errors: -1 is too small; write 1 or more"),
    ("max_idle_commands = 0", "server.max_idle_commands: 0 is too small; write 1 or more"),
    ("command_timeout = 300", 'server.command_timeout: is a number without a unit: 300; '
     'write a duration in quotes, for example "300s"'),
    ('data_timeout = "0s"', 'server.data_timeout: "0s" is too short; write "100ms" or more'),
    ('stress_timeout = "soon"', 'server.stress_timeout: "soon" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
    ('min_data_rate = "100B/s"', 'server.min_data_rate: "100B/s" is not a size; '
     'write a number and one of B, kB, MB, GB, KiB, MiB, GiB, for example "50MB"'),
    ('proxy_protocol_from = "192.0.2.10"',
     'server.proxy_protocol_from: "192.0.2.10" is not a list; write proxy_protocol_from = ["192.0.2.10"]'),
    ('proxy_protocol_from = ["haproxy.example.org"]',
     'server.proxy_protocol_from[0]: "haproxy.example.org" is not an address or a network; '
     'write an address such as "192.0.2.10" or a network such as "10.1.0.0/16"'),
    ('proxy_protocol_from = [10]',
     'server.proxy_protocol_from[0]: 10 is not text; write text in double quotes, for example "192.0.2.10"'),
    ('proxy_protocol_from = ["10.1.2.3/16"]',
     'server.proxy_protocol_from[0]: "10.1.2.3/16" is an address and a network at once; write "10.1.0.0/16"'),
    ('xclient_from = ["0.0.0.0/0"]', 'server.xclient_from[0]: "0.0.0.0/0" is everybody; '
     "write the addresses of those that are to be believed"),
    ('xclient_from = ["::/0"]', 'server.xclient_from[0]: "::/0" is everybody; '
     "write the addresses of those that are to be believed"),
]  # fmt: skip
STORAGE_MISTAKES = [
    ('url = "/var/lib/queue.db"', 'storage.url: is a path, not a URL; write "sqlite:////var/lib/queue.db"'),
    ('url = "queue.db"', 'storage.url: is a path, not a URL; write "sqlite:///queue.db"'),
    ('url = "sqlite://var/queue.db"',
     'storage.url: has two slashes; write "sqlite:///var/queue.db" or, from the root, "sqlite:////var/queue.db"'),
    ('url = "sqlite://"',
     'storage.url: would keep the mail in memory only; write a file, for example "sqlite:///var/queue.db"'),
    ('url = "sqlite:///:memory:"',
     'storage.url: would keep the mail in memory only; write a file, for example "sqlite:///var/queue.db"'),
    ('url = "postgres://mx@db/mx"', 'storage.url: begins with "postgres://"; '
     "write postgresql+psycopg:// in its place and leave the rest as it is"),
    ('url = "postgresql://mx@db/mx"', 'storage.url: begins with "postgresql://"; '
     "write postgresql+psycopg:// in its place and leave the rest as it is"),
    ('url = "mysql://mx@db/mx"', 'storage.url: names "mysql", which is not supported; write a URL such as '
     '"sqlite:////var/lib/fallback-mx/queue.db" or "postgresql+psycopg://user@host/database"'),
    ('url = ""', "storage.url: is not a database URL; write a URL such as "
     '"sqlite:////var/lib/fallback-mx/queue.db" or "postgresql+psycopg://user@host/database"'),
    ("min_free_space = false",
     'storage.min_free_space: false is not text; write text in double quotes, for example "50MB"'),
    ('ledger_retention = "90"', 'storage.ledger_retention: "90" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
]  # fmt: skip
BOUNCES_MISTAKES = [
    ('smarthost = "smtp.example.org"', 'bounces.smarthost: "smtp.example.org" has no port; '
     'write an address and a port, for example "smtp.example.org:25"'),
    ("smarthost = 25", 'bounces.smarthost: 25 is a port alone; write an address and a port: "smtp.example.org:25"'),
    ('smarthost = "0.0.0.0:25"', 'bounces.smarthost: "0.0.0.0:25" is no server to connect to; '
     'write its name and port: "smtp.example.org:25"'),
    ('smarthost = "localhost:25"', 'bounces.smarthost: "localhost:25" is where this service itself listens; '
     "write the name and port of another mail server"),
    ('relay = "x"', "bounces.relay: is not a key of [bounces]; write one of smarthost, or take it out"),
]  # fmt: skip
HTTP_MISTAKES = [
    ("listen = 8025", 'http.listen: 8025 is a port alone; write an address and a port: "127.0.0.1:8025"'),
    (
        'listen = "localhost"',
        'http.listen: "localhost" has no port; write an address and a port, for example "localhost:8025"',
    ),
    (
        'listen = "localhost:http"',
        'http.listen: "localhost:http" has no port; write an address and a port, for example "localhost:8025"',
    ),
    ('listen = "[::1]"', 'http.listen: "[::1]" has no port; write an address and a port, for example "[::1]:8025"'),
    (
        'listen = "not here"',
        'http.listen: "not here" has no port; write an address and a port, for example "127.0.0.1:8025"',
    ),
    (
        'listen = "::1:8025"',
        'http.listen: "::1:8025" lacks brackets; write an IPv6 address in brackets, for example "[::1]:8025"',
    ),
    ('listen = "0.0.0.0:25"', 'http.listen: "0.0.0.0:25" is in server.listen too; write another port'),
    (
        'token_fle = "x"',
        "http.token_fle: is not a key of [http]; write one of listen, public_status, show_hosts, status_tokens_file, "
        "or take it out",
    ),
    ('public_status = "no"', 'http.public_status: "no" is neither true nor false; write true or false, without quotes'),
    ("show_hosts = 1", "http.show_hosts: 1 is neither true nor false; write true or false, without quotes"),
    ('status_tokens_file = ""', "http.status_tokens_file: is empty; write the path of a file, or take the key out"),
    (
        "status_tokens_file = true",
        "http.status_tokens_file: true is not text; "
        'write text in double quotes, for example "/etc/ssl/fallback-mx.pem"',
    ),
]
PRIMARY_MISTAKES = [
    ("interval = 10", 'primary[0].interval: is a number without a unit: 10; '
     'write a duration in quotes, for example "10s"'),
    ('interval = "10 parsecs"', 'primary[0].interval: "10 parsecs" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
    ('interval = "5ms"', 'primary[0].interval: "5ms" is too short; write "100ms" or more'),
    ("interval = 0.5",
     'primary[0].interval: 0.5 is not text; write text in double quotes, for example "10s"'),
    ('lifetime = "0d"', 'primary[0].lifetime: "0d" is too short; write "1ms" or more'),
    ('maintenance_notice = 24', 'primary[0].maintenance_notice: is a number without a unit: 24; '
     'write a duration in quotes, for example "24s"'),
    ('maintenance_notice = "soon"', 'primary[0].maintenance_notice: "soon" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
    ('recovery_guard = "-5m"', 'primary[0].recovery_guard: "-5m" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
    ('retain_delivered = "a day"', 'primary[0].retain_delivered: "a day" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
    ("port = 0", "primary[0].port: 0 is too small; write 1 or more"),
    ("port = 70000", "primary[0].port: 70000 is too large; write 65535 or less"),
    ('port = "25"', 'primary[0].port: "25" is not a whole number; write port = 25'),
    ('when_up = "relay"', 'primary[0].when_up: "relay" is not known here; write "guard", "proxy" or "accept"'),
    ("routing_characters = true",
     'primary[0].routing_characters: true is not known here; write "refuse" or "accept"'),
    ('etrn_from = "192.0.2.20"',
     'primary[0].etrn_from: "192.0.2.20" is not a list; write etrn_from = ["192.0.2.20"]'),
    ('etrn_from = ["mail.example.org"]',
     'primary[0].etrn_from[0]: "mail.example.org" is not an address or a network; '
     'write an address such as "192.0.2.10" or a network such as "10.1.0.0/16"'),
    ('etrn_from = ["0.0.0.0/0"]', 'primary[0].etrn_from[0]: "0.0.0.0/0" is everybody; '
     "write the addresses of those that are to be believed"),
    ('grace_after = "13h"', 'primary[0].grace_after: "13h" is too long; write "12h" or less'),
    ('grace_after = "0s"', 'primary[0].grace_after: "0s" is too short; write "1s" or more'),
    ("grace_after = false", 'primary[0].grace_after: false is not known here; write "off"'),
    ('grace_after = "never"', 'primary[0].grace_after: "never" is not known here; write "off"'),
    ('grace_after = "soon"', 'primary[0].grace_after: "soon" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
    ("greylist = true",
     'primary[0].greylist: true is not text; write text in double quotes, for example "10s"'),
    ("greylist = 5", 'primary[0].greylist: is a number without a unit: 5; '
     'write a duration in quotes, for example "5s"'),
    ('tls = "yes"', 'primary[0].tls: "yes" is not known here; '
     'write "opportunistic", "none", "require", "verify" or "dane"'),
    ('on_refusal = "drop"', 'primary[0].on_refusal: "drop" is not known here; write "hold", "bounce" or "discard"'),
    ('on_expiry = 5', 'primary[0].on_expiry: 5 is not known here; write "hold", "bounce" or "discard"'),
    ("fall = 0", "primary[0].fall: 0 is too small; write 1 or more"),
    ("rise = 1.5", "primary[0].rise: 1.5 is not a whole number; write rise = 2"),
    ('hostname = "mail"', "primary[0].hostname: is not a key of [[primary]]; write it under [server]"),
    ('hosts = "a.example.org"', 'primary[0].hosts: "a.example.org" is not a list; '
     'write hosts = ["a.example.org", "b.example.org:2525"]'),
    ('hosts = ["a.example.org"]',
     "primary[0].hosts: host is set too; write one of them: hosts takes the first place for host"),
    ('address_family = "IPv4"', 'primary[0].address_family: "IPv4" is not known here; '
     'write "any", "ipv4", "ipv6", "prefer-ipv4" or "prefer-ipv6"'),
    ('source_address = "192.0.2.2"',
     'primary[0].source_address: "192.0.2.2" is not a list; write source_address = ["192.0.2.2"]'),
    ('source_address = ["eth0"]', 'primary[0].source_address[0]: "eth0" is not an address; '
     'write an address of this machine, such as "192.0.2.2"'),
    ('source_address = ["0.0.0.0"]', 'primary[0].source_address[0]: "0.0.0.0" is no address to come from; '
     "write an address of this machine, or take it out"),
    ('source_address = ["192.0.2.2", "192.0.2.3"]',
     "primary[0].source_address: has 2 IPv4 addresses; write one of each family at most"),
    ('source_address = ["2001:db8::2"]\naddress_family = "ipv4"',
     'primary[0].address_family: is "ipv4", and source_address is IPv6; '
     "write the family of source_address, or take one of them out"),
    ('tls_name = "mail.example.org"', 'primary[0].tls_name: is set, and tls is "opportunistic": '
     'it would not be looked at; write tls = "verify", or take it out'),
    ('tls = "dane"\ntls_ca_file = "/ca.pem"', 'primary[0].tls_ca_file: is set, and tls is "dane": '
     'it would not be looked at; write tls = "verify", or take it out'),
    ('tls = "verify"\ntls_name = "10.0.0.1"', 'primary[0].tls_name: "10.0.0.1" is not a host name: '
     'it is an address, not a name; write a name such as "mx2.example.org"'),
    ('tls = "verify"\ntls_pins = ["AB:CD"]', 'primary[0].tls_pins[0]: "AB:CD" is not a pin; '
     "write sha256/ and the base64 of the SHA-256 of the public key, as the log shows it when no pin matches"),
    ('tls = "verify"\ntls_pins = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]\ntls_ca_file = "/ca.pem"',
     "primary[0].tls_ca_file: is set, and tls_pins too: a pinned key needs no authority; take one of them out"),
    ('username = "backup"',
     "primary[0].password_file: is missing while username is set; write both, or neither"),
    ('password_file = "/password"',
     "primary[0].username: is missing while password_file is set; write both, or neither"),
    ('password = "geheim"', "primary[0].password: is not a key of [[primary]]; did you mean password_file?"),
    ('username = "backup"\npassword_file = "/password"\ntls = "none"',
     'primary[0].tls: is "none" while username is set: the password is not sent in clear to another machine; '
     'write tls = "require", or better "verify"'),
    ('username = "backup"\npassword_file = "/password"\nannounce_client = "xclient"',
     'primary[0].announce_client: is "xclient" while username is set: XCLIENT begins the session anew, '
     'without the login; write "xforward", or let the primary know us by our address'),
    ("announce_client = true", 'primary[0].announce_client: true is not known here; '
     'write "none", "xforward" or "xclient"'),
    ("max_recipients = 5", "primary[0].max_recipients: is not a key of [[primary]]; write it under [server]"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "problem"), SERVER_MISTAKES)
def test_a_mistake_in_server_is_named_with_its_remedy(written, lines, problem):
    assert problems_of(written(f"[server]\n{lines}\n{PRIMARY}")) == [problem]


@pytest.mark.parametrize(("lines", "problem"), BOUNCES_MISTAKES)
def test_a_mistake_in_bounces_is_named_with_its_remedy(written, lines, problem):
    assert problems_of(written(f"[bounces]\n{lines}\n{PRIMARY}")) == [problem]


def test_the_route_of_reports_is_no_name_for_a_primary(written):
    assert problems_of(written(PRIMARY.replace('"main"', '"reports"'))) == [
        'primary[0].name: "reports" is what the queue calls reports to senders; write another name'
    ]


def test_a_smarthost_is_a_name_and_a_port_and_none_where_it_is_empty(written):
    config = load(written('[bounces]\nsmarthost = "[2001:db8::1]:587"\n' + PRIMARY), environ={})
    assert config.bounces.smarthost == Endpoint("2001:db8::1", 587)
    assert load(written('[bounces]\nsmarthost = ""\n' + PRIMARY), environ={}).bounces.smarthost is None


WATCHING_MISTAKES = [
    ('probe = "deep"', 'probe: "deep" is not known here; '
     'write "connect", "banner", "ehlo", "starttls" or "transaction"'),
    ('probe_recipient = "postmaster@example.org"', 'probe_recipient: is set, and probe is "starttls": nobody would be '
     'asked for; write probe = "transaction", or take it out'),
    ('probe = "transaction"\nprobe_recipient = "postmaster"', 'probe_recipient: "postmaster" is not a mail address; '
     'write one such as "postmaster@example.org"'),
    ('probe = "transaction"\nprobe_recipient = "a@b.test> X:<"', 'probe_recipient: "a@b.test> X:<" is not a mail '
     'address; write one such as "postmaster@example.org"'),
    ("down_ports = 993", "down_ports: 993 is not a list; write down_ports = [993]"),
    ('alert_ports = ["993"]', 'alert_ports[0]: "993" is text; write the port without quotes: 993'),
    ("alert_ports = [0]", "alert_ports[0]: 0 is a port that there is not; write a port from 1 to 65535"),
    ('alert_ports = ["webmail.example.org"]', 'alert_ports[0]: "webmail.example.org" is not a host and a port; '
     'write both, for example "webmail.example.org:443"'),
    ('alert_ports = ["webmail.example.org:70000"]', 'alert_ports[0]: "webmail.example.org:70000" is a port that there '
     "is not; write a port from 1 to 65535"),
    ('alert_ports = ["2001:db8::1:443"]', 'alert_ports[0]: "2001:db8::1:443" is not a host and a port; '
     'write both, for example "webmail.example.org:443"'),
    ("alert_ports = [true]", "alert_ports[0]: true is not text; "
     'write text in double quotes, for example "webmail.example.org:443"'),
    ("down_ports = [993]\nalert_ports = [443, 993]", 'alert_ports[1]: "993" stands twice; '
     "write it once, in one of the two lists"),
    ("slow_after = false", 'slow_after: false is not known here; write "off"'),
    ("slow_after = 5", 'slow_after: is a number without a unit: 5; write a duration in quotes, for example "5s"'),
    ('slow_after = "1h"', 'slow_after: "1h" is too long; write "10m" or less'),
    ('slow_for = "off"', 'slow_for: "off" is not a duration; '
     'write a number and one of ms, s, m, h, d, for example "10s"'),
]  # fmt: skip
MONITOR_MISTAKES = [
    ('controls = ["192.0.2.1:53"]', "controls: is one alone: if it fails nobody can tell it from our own network; "
     "write two or more, in different networks"),
    ('controls = ["192.0.2.1:53", "192.0.2.1:53"]', 'controls[1]: "192.0.2.1:53" stands twice; write it once'),
    ('controls = ["192.0.2.1", "192.0.2.2:53"]', 'controls[0]: "192.0.2.1" is not a host and a port; '
     'write both, for example "192.0.2.1:53"'),
    ('controls = [53, "192.0.2.2:53"]', "controls[0]: 53 is a port alone; "
     'write an address and a port, for example "192.0.2.1:53"'),
    ('control = ["192.0.2.1:53"]', "control: is not a key of [monitor]; did you mean controls?"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "problem"), WATCHING_MISTAKES)
def test_a_mistake_in_how_a_primary_is_watched_is_named_with_its_remedy(written, lines, problem):
    assert problems_of(written(f"{PRIMARY}{lines}\n")) == [f"primary[0].{problem}"]


@pytest.mark.parametrize(("lines", "problem"), MONITOR_MISTAKES)
def test_a_mistake_in_monitor_is_named_with_its_remedy(written, lines, problem):
    assert problems_of(written(f"[monitor]\n{lines}\n{PRIMARY}")) == [f"monitor.{problem}"]


def test_how_a_primary_is_watched_is_written_back_as_it_stood(written):
    lines = (
        'probe = "transaction"\nprobe_recipient = "postmaster@example.org"\ndown_ports = [993]\n'
        'alert_ports = [443, "Webmail.example.org:443", "[2001:db8::1]:995"]\nslow_after = "5s"\n'
    )
    monitor = '[monitor]\ncontrols = ["192.0.2.1:53", "[2001:db8::1]:443"]\n'
    config = load(written(monitor + PRIMARY + lines), environ={})
    shown = config.shown()
    assert shown["monitor"]["controls"] == ["192.0.2.1:53", "[2001:db8::1]:443"]
    assert shown["primary"][0]["alert_ports"] == [443, "webmail.example.org:443", "[2001:db8::1]:995"]
    assert (shown["primary"][0]["slow_after"], shown["primary"][0]["slow_for"]) == ("5s", "5m")
    assert load(written(_as_toml(shown)), environ={}) == config


def test_a_file_that_names_none_of_it_is_watched_as_before(written):
    config = load(written(PRIMARY), environ={})
    (primary,) = config.primaries
    assert (primary.probe, primary.down_ports, primary.alert_ports) == ("starttls", (), ())
    assert (primary.slow_after, config.monitor.controls) == (None, ())


@pytest.mark.parametrize(("lines", "problem"), STORAGE_MISTAKES)
def test_a_mistake_in_storage_is_named_with_its_remedy(written, lines, problem):
    assert problems_of(written(f"[storage]\n{lines}\n{PRIMARY}")) == [problem]


@pytest.mark.parametrize(("lines", "problem"), HTTP_MISTAKES)
def test_a_mistake_in_http_is_named_with_its_remedy(written, lines, problem):
    assert problems_of(written(f"[http]\n{lines}\n{PRIMARY}")) == [problem]


@pytest.mark.parametrize(("lines", "problem"), PRIMARY_MISTAKES)
def test_a_mistake_in_a_primary_is_named_with_its_remedy(written, lines, problem):
    assert problems_of(written(f"{PRIMARY}{lines}\n")) == [problem]


@pytest.mark.parametrize(
    ("domains", "problem"),
    [
        ('"example.org"', 'primary[0].domains: "example.org" is not a list; write domains = ["example.org"]'),
        ("[]", 'primary[0].domains: is an empty list; write domains = ["example.org"]'),
        ('["a@example.org"]',
         'primary[0].domains[0]: "a@example.org" is a mail address; write the domain alone: "example.org"'),
        ('["*.example.org"]', 'primary[0].domains[0]: "*.example.org" is a pattern; '
         "write every domain by its name; patterns are not known here"),
        ('["10.0.0.1"]', 'primary[0].domains[0]: "10.0.0.1" is not a domain: it is an address, not a name; '
         'write a name such as "example.org"'),
        ('["a..b"]', 'primary[0].domains[0]: "a..b" is not a domain: it has an empty part between two dots; '
         'write a name such as "example.org"'),
        ("[5]", 'primary[0].domains[0]: 5 is not text; write text in double quotes, for example "example.org"'),
        ('["example.org", "EXAMPLE.org."]', 'primary[0].domains[1]: "example.org" stands twice here; write it once'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_domains_is_named_with_its_remedy(written, domains, problem):
    assert problems_of(written(f'[[primary]]\nname = "main"\ndomains = {domains}\n')) == [problem]


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("", 'is empty; write a name such as "mail.example.org", or leave the key out to go by MX records'),
        ("mail.example.org:25", '"mail.example.org:25" holds a port; write host = "mail.example.org" and port = 25'),
        ("[2001:db8::1]", '"[2001:db8::1]" has brackets; write the address alone: "2001:db8::1"'),
        ("0.0.0.0", '"0.0.0.0" is no address to connect to; write the primary\'s own name or address'),
        ("mail server", '"mail server" is not a host name or an address: \'mail server\' cannot be a part of a domain '
         'name; write a name such as "mail.example.org"'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_host_is_named_with_its_remedy(written, host, problem):
    text = f'[[primary]]\nname = "main"\ndomains = ["example.org"]\nhost = "{host}"\n'
    assert problems_of(written(text)) == [f"primary[0].host: {problem}"]


NO_HOST = '[[primary]]\nname = "main"\ndomains = ["example.org"]\n'


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        ('"a.example.org:0"', 'hosts[0]: "a.example.org:0" has a port that there is not; write a port from 1 to 65535'),
        ('"a.example.org", "a.example.org:25"', 'hosts[1]: "a.example.org" port 25 stands twice; write it once'),
        ('"a.example.org", ""',
         'hosts[1]: is empty; write a name such as "mail.example.org", or leave the key out to go by MX records'),
        ('"0.0.0.0:25"', 'hosts[0]: "0.0.0.0" is no address to connect to; '
         "write the primary's own name or address"),
        ("25", 'hosts[0]: 25 is not text; write text in double quotes, for example "mail.example.org"'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_hosts_is_named_with_its_remedy(written, hosts, problem):
    assert problems_of(written(f"{NO_HOST}hosts = [{hosts}]\n")) == [f"primary[0].{problem}"]


def test_hosts_have_ports_of_their_own_or_that_of_the_primary(written):
    text = NO_HOST + 'hosts = ["a.example.org", "B.example.org:2525", "192.0.2.1", "2001:db8::1", "[2001:db8::1]:24"]\n'
    config = load(written(text + "port = 26\n"), environ={})
    assert config.primaries[0].next_hosts == (
        Endpoint("a.example.org", 26),
        Endpoint("b.example.org", 2525),
        Endpoint("192.0.2.1", 26),
        Endpoint("2001:db8::1", 26),
        Endpoint("2001:db8::1", 24),
    )
    assert config.shown()["primary"][0]["hosts"][1:] == [
        "b.example.org:2525", "192.0.2.1", "2001:db8::1", "[2001:db8::1]:24"
    ]  # fmt: skip


def test_one_host_is_the_only_one_and_none_is_by_mx(written):
    assert load(written(PRIMARY), environ={}).primaries[0].next_hosts == (Endpoint("mail.example.org", 25),)
    assert load(written(NO_HOST), environ={}).primaries[0].next_hosts == ()


def test_several_domains_without_a_host_are_refused_since_each_has_an_mx_of_its_own(written):
    text = NO_HOST.replace('"example.org"', '"example.org", "example.net"')
    assert problems_of(written(text)) == [
        "primary[0].domains: are 2, and there is no host: the MX records of each may lead elsewhere; "
        'write host = "mail.example.org" if one server has them all, else a [[primary]] for each domain'
    ]
    assert load(written(text + 'hosts = ["a.example.org"]\n'), environ={})


def test_dane_wants_the_name_of_a_host(written):
    text = NO_HOST + 'hosts = ["a.example.org", "192.0.2.1"]\ntls = "dane"\n'
    assert problems_of(written(text)) == [
        'primary[0].hosts[1]: "192.0.2.1" is an address, and tls is "dane": TLSA records belong to names; '
        "write the name of the host"
    ]


def test_a_password_may_go_in_clear_to_this_very_machine(written):
    login = 'port = 2626\nusername = "x"\npassword_file = "/p"\ntls = "none"\n'
    assert load(written(PRIMARY.replace("mail.example.org", "127.0.0.1") + login), environ={})
    [problem] = problems_of(written(NO_HOST + login))
    assert problem.startswith('primary[0].tls: is "none" while username is set')


def test_one_of_several_hosts_that_is_ourselves_is_refused(written):
    text = f'[server]\nhostname = "mx2.example.org"\n{NO_HOST}hosts = ["a.example.org", "mx2.example.org"]\n'
    assert problems_of(written(text)) == [
        'primary[0].hosts[1]: "mx2.example.org" port 25 is where this service itself listens; '
        "write the name or address of the primary"
    ]


def test_how_a_primary_is_reached_is_written_back_as_it_stood(written):
    text = NO_HOST + (
        'hosts = ["a.example.org", "b.example.org:2525"]\nsource_address = ["192.0.2.2", "2001:DB8::2"]\n'
        'address_family = "prefer-ipv6"\ntls = "verify"\ntls_name = "mail.example.org"\n'
        'tls_pins = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]\nusername = "backup"\n'
        'password_file = "/etc/password"\nannounce_client = "xforward"\n'
    )
    config = load(written(text), environ={})
    shown = config.shown()
    assert shown["primary"][0]["source_address"] == ["192.0.2.2", "2001:db8::2"]
    assert load(written(_as_toml(shown)), environ={}) == config


@pytest.mark.parametrize("name", ["", "  ", " main", "two\\nlines", "x" * 65])
def test_a_name_that_would_garble_a_line_is_refused(written, name):
    text = f'[[primary]]\nname = "{name}"\ndomains = ["example.org"]\n'
    assert [problem.partition(":")[0] for problem in problems_of(written(text))] == ["primary[0].name"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "primary: is missing: there is no server to stand in for; "
         "write a [[primary]] table with name, domains and host"),
        ("[primary]\nname = 'main'\n", "primary: has single brackets; write [[primary]], once for every primary"),
        ("primary = 'main'\n", "primary: is not a table; write [[primary]] on a line of its own"),
        ("[[primary]]\nname = 'main'\n",
         'primary[0].domains: is missing; write domains = ["example.org"]'),
        ("[[server]]\n" + PRIMARY,
         "server: has double brackets; write [server] on a line of its own, its keys below it"),
        ("storage = 'x'\n" + PRIMARY,
         'storage: is not a table: "x"; write [storage] on a line of its own, its keys below it'),
        ("[sever]\n" + PRIMARY, "sever: is not a table of this file; did you mean [server]?"),
        ("[alerts]\n" + PRIMARY, "alerts: is not a table of this file; "
         "write one of [server], [storage], [http], [bounces], [monitor], [[primary]], [[customer]], "
         "[invoice], [[product]], or take it out"),
        ("hostname = 'mx2.example.org'\n" + PRIMARY, "hostname: stands outside every table; write it under [server]"),
        (PRIMARY + 'interval = 10s\n', "line 5, column 14: expected newline or end of document after a statement; "
         'write text in double quotes on one line, for example interval = "10s"'),
        (PRIMARY + "port = 25\nport = 26\n",
         "line 6, column 10: cannot overwrite a value; write every key once, and every table but [[primary]] once"),
        ('[server]\nlisten = ["a:25"', "the end of the file: unclosed array; "
         'write text in double quotes on one line, for example interval = "10s"'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_shape_of_the_file_is_named_with_its_remedy(written, text, problem):
    assert problems_of(written(text)) == [problem]


def test_every_problem_of_a_file_is_reported_at_once(written):
    text = """
[server]
max_recipients = 0
[storage]
url = "queue.db"
[http]
lisen = ""
[[primary]]
name = "main"
domains = ["example.org"]
interval = 10
[[primary]]
name = "main"
domains = ["example.org"]
port = 0
"""
    assert [line.partition(": ")[0] for line in problems_of(written(text))] == [
        "server.max_recipients",
        "storage.url",
        "http.lisen",
        "primary[0].interval",
        "primary[1].port",
        "primary[1].name",
        "primary[1].domains[0]",
    ]


def test_the_text_of_the_error_has_a_line_a_problem_with_the_file_first(written):
    path = written(PRIMARY + "port = 0\nrise = 0\n")
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    assert str(caught.value).splitlines() == [
        f"{path}: primary[0].port: 0 is too small; write 1 or more",
        f"{path}: primary[0].rise: 0 is too small; write 1 or more",
    ]


CUSTOMER = '[[customer]]\nname = "Example"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CUSTOMER + 'time_zone = "Mars"',
         'customer[0].time_zone: "Mars" is not a time zone; write a name such as "Europe/Prague"'),
        (CUSTOMER + 'contacts = "carol"',
         'customer[0].contacts: "carol" is not a list; write contacts = ["carol@example.org"]'),
        (CUSTOMER + 'account = ""',
         "customer[0].account: is empty or holds control characters; write text, or take the key out"),
        (CUSTOMER + CUSTOMER, 'customer[1].name: "Example" is already the name of customer[0]; write another name'),
        ('[customer]\nname = "Example"', "customer: has single brackets; write [[customer]], once for every customer"),
        ('[[customer]]\nname = "Other"',
         'primary[0].customer: "Example" has no [[customer]] table; write "Other", or '
         'a [[customer]] table with that name'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_customer_is_named_with_its_remedy(written, text, problem):
    assert problems_of(written(PRIMARY + 'customer = "Example"\n' + text)) == [problem]


PRODUCT = '[[product]]\nname = "mail"\nprice = "4.50"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PRODUCT.replace('"4.50"', '"4,50"'),
         'product[0].price: "4,50" is not an amount; write an amount in quotes, for example "4.50"'),
        (PRODUCT.replace('"4.50"', "-1"),
         'product[0].price: -1 is not between 0 and 10000000; write an amount in quotes, for example "4.50"'),
        (PRODUCT.replace('"4.50"', '"0.1234567"'),
         'product[0].price: "0.1234567" has more than six decimals; write an amount in quotes, for example "4.50"'),
        (PRODUCT.replace('price = "4.50"', ""), 'product[0].price: is missing; write price = "4.50"'),
        (PRODUCT + PRODUCT, 'product[1].name: "mail" is already the name of product[0]; write another name'),
        (PRODUCT.replace("[[product]]", "[product]"),
         "product: has single brackets; write [[product]], once for every product"),
        (PRODUCT + '[invoice]\nstorage_of = "chat"',
         'invoice.storage_of: "chat" has no [[product]] table; write "mail"'),
        ('[invoice]\ntax_percent = "120"',
         'invoice.tax_percent: "120" is more than 100; write a percentage from 0 to 100'),
        ('[invoice]\nboth_discount_percent = true',
         'invoice.both_discount_percent: true is not an amount; write an amount in quotes, for example "4.50"'),
        ('[invoice]\nstorage = "shared"',
         'invoice.storage: "shared" is not known here; write "pooled" or "per_user"'),
        ('[invoice]\ndue_days = -1', "invoice.due_days: -1 is too small; write 0 or more"),
        ('[invoice]\ntime_zone = "Mars"',
         'invoice.time_zone: "Mars" is not a time zone; write a name such as "Europe/Prague"'),
        ('[[invoice]]\ndue_days = 1',
         "invoice: has double brackets; write [invoice] on a line of its own, its keys below it"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_terms_of_bills_is_named_with_its_remedy(written, text, problem):
    assert problems_of(written(PRIMARY + text)) == [problem]


def test_an_amount_is_what_is_written_in_quotes_or_as_a_number(written):
    config = load(written(PRIMARY + PRODUCT + PRODUCT.replace("mail", "chat").replace('"4.50"', "0.1")), environ={})
    assert [str(product.price) for product in config.products] == ["4.50", "0.1"]


def test_a_customer_needs_no_table_and_a_primary_no_customer(written):
    config = load(written(PRIMARY + 'customer = "Example"\n'), environ={})
    assert (config.primaries[0].customer, config.primaries[0].agreement, config.primaries[0].region) == (
        "Example",
        "kerio-cloud",
        None,
    )
    assert config.customers == ()


def test_control_characters_of_a_value_are_escaped_in_its_error(written):
    assert "\x1b" not in problems_of(written(PRIMARY + 'interval = "\\u001b[31mred"\n'))[0]


def test_a_domain_of_two_primaries_is_refused_however_it_is_written(written):
    text = PRIMARY + '[[primary]]\nname = "second"\ndomains = ["Example.org."]\n'
    assert problems_of(written(text)) == [
        'primary[1].domains[0]: "example.org" already stands in primary[0]; write it once'
    ]


def test_two_primaries_of_one_name_are_refused(written):
    text = PRIMARY + '[[primary]]\nname = "main"\ndomains = ["example.net"]\n'
    assert problems_of(written(text)) == [
        'primary[1].name: "main" is already the name of primary[0]; write another name'
    ]


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        ("127.0.0.1:2525", "127.0.0.1"),
        ("127.0.0.1:2525", "localhost"),
        ("[::1]:2525", "::1"),
        ("localhost:2525", "127.0.0.1"),
        ("0.0.0.0:2525", "127.0.0.5"),
        ("[::]:2525", "localhost"),
        ("192.0.2.7:2525", "192.0.2.7"),
        ("192.0.2.7:2525", "MX2.example.org."),
    ],
)
def test_a_primary_that_is_ourselves_is_refused(written, listen, host):
    text = f'[server]\nhostname = "mx2.example.org"\nlisten = ["{listen}"]\n{PRIMARY}port = 2525\n'
    assert problems_of(written(text.replace("mail.example.org", host))) == [
        f'primary[0].host: "{host}" port 2525 is where this service itself listens; '
        "write the name or address of the primary"
    ]


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:2525", "127.0.0.1", 2526),
        ("127.0.0.1:2525", "127.0.0.2", 2525),
        ("0.0.0.0:2525", "192.0.2.7", 2525),
        ("127.0.0.1:2525", "mail.example.org", 2525),
    ],
)
def test_another_server_on_this_machine_may_be_the_primary(written, listen, host, port):
    text = f'[server]\nhostname = "mx2.example.org"\nlisten = ["{listen}"]\n{PRIMARY}port = {port}\n'
    assert load(written(text.replace("mail.example.org", host)), environ={}).primaries[0].host == host


# --- files that cannot be read ---------------------------------------------------------------------------------------


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml", environ={})
    expected = "there is no such file; write its path after --config or in FALLBACK_MX_CONFIG"
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: {expected}"


def test_a_directory_is_one_clear_line(tmp_path):
    assert problems_of(tmp_path) == ["cannot be read: Is a directory; name a file that this user may read"]


def test_a_file_in_another_encoding_is_one_clear_line(tmp_path):
    path = tmp_path / "fallback-mx.toml"
    path.write_bytes(b"# M\xfcller\n")
    assert problems_of(path) == ["is not UTF-8 text (at octet 3); save it as UTF-8"]


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "fallback-mx.toml"
    path.write_text(PRIMARY, encoding="utf-8-sig")
    assert load(path, environ={}).primaries[0].name == "main"


# --- values from outside the file ------------------------------------------------------------------------------------


def test_overrides_go_before_the_environment_and_that_before_the_file(written):
    path = written('[server]\nlisten = ["0.0.0.0:25"]\nhostname = "file.example"\n' + PRIMARY)
    environ = {"FALLBACK_MX_LISTEN": "127.0.0.1:2525,[::1]:2525", "FALLBACK_MX_HOSTNAME": "environ.example"}
    config = load(path, {"server.hostname": "override.example"}, environ)
    assert config.server.hostname == "override.example"
    assert config.server.listen == (Endpoint("127.0.0.1", 2525), Endpoint("::1", 2525))


def test_every_variable_of_the_environment_reaches_its_key(written):
    values = {
        "FALLBACK_MX_HOSTNAME": "mx2.example.org",
        "FALLBACK_MX_LISTEN": "127.0.0.1:2525",
        "FALLBACK_MX_STORAGE": "sqlite:///var/queue.db",
        "FALLBACK_MX_HTTP": "127.0.0.1:9999",
    }
    assert set(values) == set(ENVIRONMENT)
    config = load(written(PRIMARY), environ=values)
    assert config.server.hostname == "mx2.example.org"
    assert config.server.listen == (Endpoint("127.0.0.1", 2525),)
    assert config.storage.url == "sqlite:///var/queue.db"
    assert config.http.listen == Endpoint("127.0.0.1", 9999)


def test_an_empty_variable_counts_as_not_set(written):
    assert load(written(PRIMARY), environ={"FALLBACK_MX_HTTP": ""}).http.listen == Endpoint("127.0.0.1", 8025)


def test_a_bad_value_of_the_environment_is_traced_to_its_variable(written):
    with pytest.raises(ConfigError) as caught:
        load(written(PRIMARY), environ={"FALLBACK_MX_LISTEN": "2525"})
    assert str(caught.value.problems[0]) == (
        'server.listen[0]: "2525" is a port alone (set by FALLBACK_MX_LISTEN); '
        'write an address and a port: "0.0.0.0:2525"'
    )


def test_a_bad_override_is_reported_like_a_bad_value(written):
    assert problems_of(written(PRIMARY), overrides={"storage.url": "queue.db"}) == [
        'storage.url: is a path, not a URL; write "sqlite:///queue.db"'
    ]


def test_the_process_environment_is_read_where_none_is_given(written, monkeypatch):
    monkeypatch.setenv("FALLBACK_MX_HOSTNAME", "mx9.example.org")
    config: Config = load(written(PRIMARY))
    assert config.server.hostname == "mx9.example.org"
