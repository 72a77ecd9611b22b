"""What is shipped for running the service: it must say what the code does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fallback_mx.config import SECTIONS, Config, Endpoint, load
from fallback_mx.rules.health import State
from fallback_mx.rules.watching import PortState, Watching
from fallback_mx.web.metrics import Figures, Metrics

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "deploy" / "fallback-mx.toml"
UNIT = ROOT / "deploy" / "systemd" / "fallback-mx.service"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
# Keys whose line in the manual is an example: they have no default, or the machine decides it, or the shipped primary
# differs from it on purpose.
EXAMPLES = {
    ("[server]", "hostname"),
    ("[server]", "tls_certificate"),
    ("[server]", "tls_key"),
    ("[http]", "status_tokens_file"),
    ("[[primary]]", "name"),
    ("[[primary]]", "domains"),
    ("[[primary]]", "host"),
    ("[[primary]]", "port"),
    ("[[primary]]", "hosts"),
    ("[[primary]]", "probe_recipient"),
    ("[[primary]]", "tls_ca_file"),
    ("[[primary]]", "tls_name"),
    ("[[primary]]", "username"),
    ("[[primary]]", "password_file"),
    ("[[primary]]", "recipients_file"),
    ("[[primary]]", "recipients_command"),
    ("[[primary]]", "recipients_url"),
    ("[[primary]]", "recipients_ldap"),
    ("[[primary]]", "recipients_ldap_base"),
    ("[[primary]]", "recipients_ldap_user"),
    ("[[primary]]", "recipients_ldap_password_file"),
    ("[[primary]]", "etrn_from"),
    ("[[primary]]", "customer"),
    ("[[primary]]", "region"),
    ("[invoice]", "storage_of"),
    ("[[product]]", "name"),
    ("[[product]]", "price"),
    ("[[customer]]", "name"),
    ("[[customer]]", "account"),
    ("[[customer]]", "contacts"),
    ("[[customer]]", "country"),
}
KEYS = [(section.heading, key) for section in SECTIONS for key in section.keys]


def documented() -> dict[tuple[str, str], object]:
    """Every key in the manual, commented out or not, with its value."""
    values: dict[tuple[str, str], object] = {}
    heading = ""
    for line in MANUAL.read_text(encoding="utf-8").splitlines():
        if table := re.fullmatch(r"(?:# )?(\[+\w+\]+)", line):
            heading = table[1]
        elif match := re.fullmatch(r"(?:# )?([a-z_]+) = (.+)", line):
            values[heading, match[1]] = tomllib.loads(f"value = {match[2]}")["value"]
    return values


def defaults() -> dict[tuple[str, str], object]:
    """Every setting of a configuration that leaves out all it may, spelled as in a file."""
    primary = {"name": "main", "domains": ["example.org"]}
    product = {"name": "mail", "price": "4.50"}
    whole = {"primary": [primary], "customer": [{"name": "Example"}], "product": [product]}
    shown = Config.model_validate(whole).shown()
    tables = {f"[{name}]": shown[name] for name in ("server", "storage", "http", "bounces", "monitor", "invoice")}
    tables |= {f"[[{name}]]": shown[name][0] for name in ("primary", "customer", "product")}
    return {(heading, key): value for heading, table in tables.items() for key, value in table.items()}


def test_the_manual_is_a_configuration_that_loads():
    config = load(MANUAL, environ={})
    assert [primary.name for primary in config.primaries] == ["main"]


def test_the_manual_runs_beside_a_mail_server_when_its_ports_are_moved():
    moved = {"FALLBACK_MX_LISTEN": "127.0.0.1:2525", "FALLBACK_MX_HTTP": "127.0.0.1:8025"}
    config = load(MANUAL, environ=moved)
    assert config.server.listen == (Endpoint("127.0.0.1", 2525),)
    assert config.primaries[0].port not in (25, 2525)


@pytest.mark.parametrize(("heading", "key"), KEYS)
def test_every_key_stands_in_the_manual(heading, key):
    assert (heading, key) in documented()


@pytest.mark.parametrize(("heading", "key"), [place for place in KEYS if place not in EXAMPLES])
def test_the_manual_gives_the_default_of_every_key(heading, key):
    assert documented()[heading, key] == defaults()[heading, key]


def test_the_manual_names_no_key_that_is_not_known():
    assert set(documented()) - set(KEYS) == set()


def test_the_manual_names_every_variable_of_the_environment():
    from fallback_mx.config import ENVIRONMENT

    text = MANUAL.read_text(encoding="utf-8")
    assert [variable for variable, key in ENVIRONMENT.items() if f"{variable} ({key}" not in text] == []


def unit_settings() -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(key, []).append(value)
    return settings


def test_the_unit_may_bind_port_25_and_do_nothing_else_of_root():
    settings = unit_settings()
    assert settings["User"] != ["root"]
    assert settings["AmbientCapabilities"] == settings["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert settings["NoNewPrivileges"] == ["yes"]
    assert settings["ProtectSystem"] == ["strict"]


def test_the_unit_may_write_to_the_default_queue():
    storage = load(MANUAL, environ={}).storage.url.removeprefix("sqlite:///")
    assert Path(storage).parent == Path("/var/lib") / unit_settings()["StateDirectory"][0]


def test_the_unit_tells_systemd_of_readiness_reload_and_life():
    settings = unit_settings()
    assert settings["Type"][-1] == "notify-reload"
    assert "WatchdogSec" in settings


def test_systemd_accepts_the_unit(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian package: systemd)")
    # The program is not installed where the unit expects it; any that exists will do here.
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(encoding="utf-8"))
    copy = tmp_path / "fallback-mx.service"
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, check=False)
    # Before version 253 notify-reload is not known, and Type=notify above it holds.
    complaints = [line for line in done.stderr.splitlines() if str(copy) in line and "notify-reload" not in line]
    assert (done.returncode, complaints) == (0, [])


def test_every_metric_in_the_alert_rules_is_exported():
    watching = Watching((("ehlo", 0.1),), datetime.now(UTC), ports=(PortState("993", State.UP),))
    figures = Figures(datetime.now(UTC), {"main": "up"}, [], watched={"main": watching})
    exported = set(re.findall(r"(?m)^(fallback_mx_\w+)", Metrics("0", ["main"]).render(figures).decode()))
    asked_for = set(re.findall(r"fallback_mx_\w+", ALERTS.read_text(encoding="utf-8")))
    assert asked_for - exported == set()
    assert asked_for
