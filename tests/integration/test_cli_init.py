"""`fallback-mx init`: what it writes, what it leaves alone, and what it asks."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest
from click.testing import Result

from fallback_mx.blueprint import Blueprint
from tests.fakes.clinic import DOMAIN, PRIMARY, US, Clinic


class Newcomer:
    """Somebody who has no configuration yet. The world is that of the clinic."""

    def __init__(self, clinic: Clinic, directory: Path) -> None:
        self.clinic = clinic
        self.config = directory / "new" / "fallback-mx.toml"
        self.units = directory / "units"
        self.directory = directory

    @property
    def drop_in(self) -> Path:
        return self.units / "fallback-mx.service.d" / "init.conf"

    @property
    def records(self) -> Path:
        return self.config.parent / "dns-records.txt"

    @property
    def words(self) -> tuple[str, ...]:
        resolver = f"127.0.0.1:{self.clinic.resolver_port}"
        port = str(self.clinic.primary_port)
        storage = f"sqlite:///{self.directory}/queue.db"
        where = ("--resolver", resolver, "--units", str(self.units), "--storage", storage, "--host-port", port)
        return (*where, "--config", str(self.config))

    def run(self, *words: str) -> Result:
        return self.clinic.operator.run("init", *self.words, *words)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    with Clinic(tmp_path) as clinic:
        yield Newcomer(clinic, tmp_path)


def test_without_questions_it_writes_a_configuration_that_config_check_accepts(newcomer: Newcomer) -> None:
    result = newcomer.run("--yes", "--domain", DOMAIN, "--hostname", US, "--host", "127.0.0.1")
    assert result.exit_code == 0, result.output
    written = tomllib.loads(newcomer.config.read_text())
    assert written["server"] == {"hostname": US}
    [primary] = written["primary"]
    assert (primary["domains"], primary["host"], primary["when_up"]) == ([DOMAIN], "127.0.0.1", "guard")
    check = newcomer.clinic.operator.run("config", "check", "--config", str(newcomer.config))
    assert (check.exit_code, check.stderr) == (0, "")
    assert f"The primary: 127.0.0.1 answers: {PRIMARY}, in clear" in result.stdout
    assert newcomer.config.stat().st_mode & 0o007 == 0


def test_the_primary_is_found_by_the_mx_records_and_we_stand_behind_it(newcomer: Newcomer) -> None:
    result = newcomer.run("--yes", "--domain", DOMAIN, "--hostname", US, "--json")
    told = json.loads(result.stdout)
    assert tomllib.loads(newcomer.config.read_text())["primary"][0]["host"] == PRIMARY
    assert told["records"][:2] == [f"{DOMAIN}. IN MX 10 {PRIMARY}.", f"{DOMAIN}. IN MX 20 {US}."]
    assert f'{US}. IN TXT "v=spf1 a -all"' in told["records"]
    assert newcomer.records.read_text().splitlines() == told["records"]
    assert told["written"]["config"] == str(newcomer.config)


def test_the_drop_in_starts_this_program_with_this_configuration_and_lets_it_write_its_queue(
    newcomer: Newcomer,
) -> None:
    newcomer.run("--yes", "--domain", DOMAIN)
    lines = newcomer.drop_in.read_text().splitlines()
    assert lines[1:3] == ["[Service]", "ExecStart="]
    assert lines[3] == f"ExecStart={Path(sys.executable).parent}/fallback-mx serve --config {newcomer.config}"
    assert f"ReadWritePaths={newcomer.directory}" in lines


@pytest.mark.parametrize("which", ["config", "records", "drop_in"])
def test_if_one_file_is_there_none_is_written_without_being_told(newcomer: Newcomer, which: str) -> None:
    path: Path = getattr(newcomer, which)
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    result = newcomer.run("--yes", "--domain", DOMAIN)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{path}: there already, and left alone; --force writes over it" in result.stderr
    there = [each.exists() for each in (newcomer.config, newcomer.records, newcomer.drop_in)]
    assert (path.read_text(), there.count(True)) == ("precious", 1)
    assert newcomer.run("--yes", "--domain", DOMAIN, "--force").exit_code == 0
    assert path.read_text() != "precious"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Say which domains with --domain."),
        (("--domain", "no domain at all!"), "is not a domain"),
        (("--domain", "nowhere.test"), "nowhere.test has no MX records: name its --host."),
        (("--domain", DOMAIN, "--hostname", "a b"), "--hostname: "),
        (("--domain", DOMAIN, "--listen", "foo"), '--listen: "foo" has no port'),
        (("--domain", DOMAIN, "--certificate", "/c.pem"), "--key: is missing"),
    ],
)
def test_a_mistake_writes_nothing_and_blames_the_option(newcomer: Newcomer, words: tuple[str, ...], said: str) -> None:
    result = newcomer.run("--yes", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not newcomer.config.exists()


def test_a_name_server_that_does_not_answer_is_told(newcomer: Newcomer) -> None:
    newcomer.clinic.name_server.broken[f"{DOMAIN}."] = dns.rcode.SERVFAIL
    result = newcomer.run("--yes", "--domain", DOMAIN, "--host", PRIMARY)
    assert (result.exit_code, "what stands there is not known" in result.stderr) == (0, True)


def test_without_a_terminal_and_without_yes_it_asks_nobody(newcomer: Newcomer) -> None:
    result = newcomer.run("--domain", DOMAIN)
    assert (result.exit_code, "There is no terminal to ask on" in result.stderr) == (2, True)


def test_a_certificate_that_is_not_there_is_told_as_something_to_do(newcomer: Newcomer) -> None:
    result = newcomer.run("--yes", "--domain", DOMAIN, "--certificate", "/none/c.pem", "--key", "/none/k.pem")
    assert "To do: server.tls_certificate /none/c.pem: No such file" in result.stdout


def test_on_a_terminal_the_questions_come_with_what_was_found_out(newcomer: Newcomer) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fallback_mx", "init", *newcomer.words, "--hostname", US]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    os.write(ours, f"{DOMAIN}, other.test\n\naccept\n".encode())
    pieces = []
    try:
        while piece := os.read(ours, 65536):
            pieces.append(piece)
    except OSError:
        pass
    os.close(ours)
    assert process.wait(60) == 0, b"".join(pieces)
    assert f"The primary's host [{PRIMARY}]" in b"".join(pieces).decode()
    [primary] = tomllib.loads(newcomer.config.read_text())["primary"]
    assert primary["domains"] == [DOMAIN, "other.test"]
    assert (primary["host"], primary["when_up"]) == (PRIMARY, "accept")


# What is written, by what was decided --------------------------------------------------------------------------------


def test_blanks_and_percent_signs_in_paths_are_as_systemd_wants_them() -> None:
    plan = Blueprint(("a.test",), "mail.a.test", "mx2.a.test")
    text = plan.drop_in("/opt/fall back/bin/fallback-mx", Path("/etc/100%/f.toml"))
    assert 'ExecStart="/opt/fall back/bin/fallback-mx" serve --config /etc/100%%/f.toml' in text.splitlines()
    assert "ReadWritePaths" not in text


def test_a_primary_that_is_an_address_gets_a_name_in_the_records() -> None:
    plan = Blueprint(("a.test", "b.test"), "192.0.2.9", "mx2.a.test", addresses=("198.51.100.7",))
    assert plan.records() == (
        "a.test. IN MX 10 mail.a.test. ; the primary's name here",
        "a.test. IN MX 20 mx2.a.test.",
        "b.test. IN MX 10 mail.b.test. ; the primary's name here",
        "b.test. IN MX 20 mx2.a.test.",
        "mx2.a.test. IN A 198.51.100.7",
        'mx2.a.test. IN TXT "v=spf1 a -all"',
        "7.100.51.198.in-addr.arpa. IN PTR mx2.a.test.",
    )


def test_we_are_put_behind_every_exchanger_that_there_is_and_once() -> None:
    there = {"a.test": ((10, "mail.a.test"), (15, "mx2.a.test"), (50, "old.a.test"))}
    records = Blueprint(("a.test",), "mail.a.test", "mx2.a.test", exchangers=there).records()
    assert [each for each in records if " MX " in each] == [
        "a.test. IN MX 10 mail.a.test.",
        "a.test. IN MX 50 old.a.test.",
        "a.test. IN MX 60 mx2.a.test.",
    ]
