"""`fallback-mx config check|show`, `db migrate|check`, and how every command ends when something is wrong."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from fallback_mx import __version__
from fallback_mx.cli import program
from fallback_mx.cli.options import DEFAULT_CONFIG
from tests.fakes.operator import Operator

COMMANDS = [
    ("status",),
    ("queue", "list"),
    ("queue", "show", "01K4QZ6YB3T9V5XW2N8M7RCD1E"),
    ("queue", "cat", "01K4QZ6YB3T9V5XW2N8M7RCD1E"),
    ("queue", "count"),
    ("queue", "hold", "--all"),
    ("queue", "release", "--all"),
    ("queue", "retry", "--all"),
    ("queue", "remove", "--all", "--yes"),
    ("primary", "list"),
    ("outage", "list"),
    ("db", "check"),
]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def test_config_check_of_a_right_file_says_what_is_in_it(operator: Operator) -> None:
    result = operator.run("config", "check")
    assert (result.exit_code, result.stdout) == (0, f"{operator.config} is right: 2 primaries, 2 domains.\n")


def test_config_check_names_every_problem_on_a_line_of_its_own(operator: Operator) -> None:
    operator.config.write_text('[server]\nlisten = ["25"]\n[[primary]]\nname = "main"\nrise = 0\n')
    result = operator.run("config", "check")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"fallback-mx: {operator.config}: ") for line in lines)
    for key in ("server.listen[0]", "primary[0].domains", "primary[0].rise"):
        assert any(key in line for line in lines), lines


def test_config_check_names_the_lines_of_the_tokens_that_cannot_be_used(operator: Operator, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("0123456789abcdef0123 Exmple\nshort Example\n")
    operator.config.write_text(
        f'[http]\nstatus_tokens_file = "{tokens}"\n'
        f'[storage]\nurl = "sqlite:///{tmp_path}/queue.db"\n'
        '[[primary]]\nname = "main"\ndomains = ["example.org"]\ncustomer = "Example"\n'
    )
    result = operator.run("config", "check")
    assert result.exit_code == 2
    assert "line 1: no primary has the customer Exmple; write a token" in result.stderr
    assert "line 2: the token is too short" in result.stderr
    assert "0123456789" not in result.stderr


def test_config_check_names_everything_that_is_not_on_this_machine_at_once(operator: Operator, tmp_path: Path) -> None:
    program_file = tmp_path / "list"
    program_file.write_text("#!/bin/sh\n")
    operator.config.write_text(
        f"""
[server]
tls_certificate = "{tmp_path}/none.pem"
tls_key = "{tmp_path}/none.key"
[storage]
url = "sqlite:///{tmp_path}/none/queue.db"
[[primary]]
name = "main"
domains = ["example.org"]
host = "192.0.2.1"
recipients_file = "{tmp_path}/none"
[[primary]]
name = "other"
domains = ["example.net"]
host = "192.0.2.2"
recipients_command = ["{program_file}"]
"""
    )
    result = operator.run("config", "check")
    assert (result.exit_code, result.stdout) == (2, "")
    start = f"fallback-mx: {operator.config}: "
    assert result.stderr.splitlines() == [
        f"{start}storage.url: {tmp_path}/none is no directory; mkdir {tmp_path}/none, or write another path",
        f"{start}primary[0].recipients_file: {tmp_path}/none: No such file or directory; "
        "write the path of a file that the service's user may read",
        f"{start}primary[1].recipients_command: {program_file} may not be executed by this user; "
        f"chmod +x {program_file}, or name another program",
        f"{start}server.tls_certificate {tmp_path}/none.pem: No such file or directory; "
        "write a PEM certificate chain and its unencrypted private key, readable by the service's user",
    ]
    assert len(json.loads(operator.run("config", "check", "--json").stdout)["problems"]) == 4


def test_config_check_json_has_key_wrong_and_write(operator: Operator) -> None:
    operator.config.write_text('[[primary]]\nname = "main"\ndomains = ["example.org"]\nrise = 0\n')
    result = operator.run("config", "check", "--json")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert (answer["ok"], [sorted(one) for one in answer["problems"]]) == (False, [["key", "write", "wrong"]])


def test_config_show_is_toml_that_reads_back_to_the_same(operator: Operator, tmp_path: Path) -> None:
    shown = operator.run("config", "show").stdout
    assert tomllib.loads(shown)["primary"][1]["domains"] == ["example.net"]
    operator.config.write_text(shown)
    assert operator.run("config", "show").stdout == shown


def test_config_show_hides_the_databases_password(operator: Operator) -> None:
    operator.config.write_text(
        operator.config.read_text().replace(operator.url, "postgresql+psycopg://fmx:s3cret@db.example.org/fmx")
    )
    for words in ((), ("--json",)):
        result = operator.run("config", "show", *words)
        assert result.exit_code == 0
        assert "db.example.org" in result.stdout
        assert "s3cret" not in result.output


@pytest.mark.parametrize("command", [*COMMANDS, ("db", "migrate"), ("serve",), ("config", "show")])
def test_a_bad_configuration_is_code_2_for_every_command(operator: Operator, command: tuple[str, ...]) -> None:
    operator.config.write_text("[nonsense]\n")
    result = operator.run(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nonsense: is not a table of this file" in result.stderr
    assert not operator.database.exists()


def test_a_missing_configuration_says_how_to_name_one(operator: Operator) -> None:
    result = operator.run("status", "--config", "/nowhere/f.toml")
    assert result.exit_code == 2
    assert result.stderr == (
        "fallback-mx: /nowhere/f.toml: there is no such file; write its path after --config or in FALLBACK_MX_CONFIG\n"
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_configuration_can_be_named_at_any_level_and_goes_before_the_environment(
    operator: Operator, place: int
) -> None:
    words = ["queue", "count"]
    words[place:place] = ["--config", str(operator.create().config)]
    assert operator.run(*words, env={"FALLBACK_MX_CONFIG": "/nowhere/f.toml"}).exit_code == 0


def test_without_any_word_the_default_configuration_is_meant(operator: Operator) -> None:
    result = operator.run("config", "check", env={"FALLBACK_MX_CONFIG": None})
    assert result.stderr.startswith(f"fallback-mx: {DEFAULT_CONFIG}: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_database_is_code_4_and_is_never_created(operator: Operator, command: tuple[str, ...]) -> None:
    result = operator.run(*command)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        f"fallback-mx: {operator.database} does not exist."
        " Start the service once, or run `fallback-mx db migrate`, to create it.\n"
    )
    assert not operator.database.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_without_tables_is_code_4_and_left_as_it_is(operator: Operator, command: tuple[str, ...]) -> None:
    operator.database.touch()
    result = operator.run(*command)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "fallback-mx db migrate" in result.stderr
    assert result.stderr.count("\n") == 1
    connection = sqlite3.connect(operator.database)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_db_migrate_creates_what_is_missing_once(operator: Operator) -> None:
    assert operator.run("db", "migrate").stdout == "The database was migrated.\n"
    assert operator.run("db", "migrate").stdout == "The database is up to date, nothing was done.\n"
    assert operator.run("db", "check").stdout == "The database is sound; messages waiting: 0.\n"
    assert operator.database.stat().st_mode & 0o077 == 0


def test_db_migrate_keeps_the_mail(operator: Operator) -> None:
    queue_id = operator.create().accept()
    assert operator.json("db", "migrate") == [{"migrated": False}]
    assert operator.ids() == [queue_id]


def test_db_migrate_is_refused_while_the_service_runs(operator: Operator) -> None:
    service = operator.open()
    result = operator.run("db", "migrate")
    service.close()
    assert result.exit_code == 1
    assert "in use by another service. Stop the other service" in result.stderr


def _set_revision(operator: Operator, revision: str) -> None:
    connection = sqlite3.connect(operator.create().database)
    connection.execute("UPDATE mxqueue_version SET version_num = ?", (revision,))
    connection.commit()
    connection.close()


@pytest.mark.parametrize("command", [("db", "migrate"), ("db", "check"), ("queue", "list")])
def test_a_database_of_a_newer_version_is_refused(operator: Operator, command: tuple[str, ...]) -> None:
    _set_revision(operator, "9999")
    result = operator.run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "9999, which this version does not know. Install the newer version again" in result.stderr


def test_db_migrate_into_a_directory_that_is_not_there_is_code_4(operator: Operator) -> None:
    operator.config.write_text(operator.config.read_text().replace("queue.db", "no/such/queue.db"))
    result = operator.run("db", "migrate")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "Make " in result.stderr


def test_db_check_finds_a_damaged_file(operator: Operator) -> None:
    for _ in range(50):
        operator.create().accept(content=b"x" * 20_000)
    with operator.database.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xff" * 4096 * 3)
    result = operator.run("db", "check")
    assert result.exit_code in (1, 4), result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_db_check_finds_rows_whose_message_is_missing(operator: Operator) -> None:
    queue_id = operator.create().accept()
    connection = sqlite3.connect(operator.database)
    connection.execute("DELETE FROM message WHERE id = ?", (queue_id,))
    connection.commit()
    connection.close()
    result = operator.run("db", "check", "--json")
    assert result.exit_code == 1
    assert '"ok": false' in result.stdout


def test_an_unreachable_database_server_is_code_4_and_its_password_is_not_said(operator: Operator) -> None:
    operator.config.write_text(
        operator.config.read_text().replace(operator.url, "postgresql+psycopg://fmx:s3cret@127.0.0.1:9/fmx")
    )
    result = operator.run("queue", "count")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "s3cret" not in result.output


def test_the_same_commands_work_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    operator = Operator(tmp_path, postgres_url)
    assert operator.run("queue", "list").exit_code == 4
    assert operator.json("db", "migrate") == [{"migrated": True}]
    kept, gone = operator.accept("bob@example.org"), operator.accept("dave@example.net", route="other")
    assert operator.run("queue", "hold", kept).exit_code == 0
    assert operator.run("queue", "remove", gone, "--yes").exit_code == 0
    assert operator.ids() == [kept]
    assert operator.states(kept) == ["held"]
    assert operator.run("queue", "cat", kept).stdout_bytes.endswith(b"World\r\n")
    assert operator.json("queue", "count")[0]["messages"] == 1
    assert operator.json("status")[0]["primaries"][0]["queue"]["held_messages"] == 1
    assert operator.json("outage", "list")[-1]["kind"] == "uptime"
    assert operator.json("db", "check") == [{"ok": True, "problems": [], "messages": 1}]


def _leaves(command: click.Command, *words: str) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [words]
    return [words, *(leaf for name, child in command.commands.items() for leaf in _leaves(child, *words, name))]


@pytest.mark.parametrize("words", _leaves(program), ids=" ".join)
def test_every_command_has_help_with_examples_that_are_commands(operator: Operator, words: tuple[str, ...]) -> None:
    result = operator.run(*words, "--help")
    assert result.exit_code == 0
    assert "Examples:\n" in result.stdout
    # The demo reads no configuration.
    assert ("--config FILE" in result.stdout) is (words != ("demo",))
    assert f"  fallback-mx {' '.join(words)}".rstrip() in result.stdout


def test_json_is_an_option_of_every_command_that_prints_data() -> None:
    without = [
        words
        for words in _leaves(program)
        for command in [_find(words)]
        if not isinstance(command, click.Group) and not any("--json" in option.opts for option in command.params)
    ]
    # A plugin, another program's habits and a script have a form of their own.
    foreign = [("check", "primary"), ("check", "queue"), ("check", "self"), ("completion",), ("mailq",)]
    assert sorted(without) == sorted([*foreign, ("demo",), ("serve",)])


@pytest.mark.parametrize("words", [*COMMANDS, ("config", "check"), ("config", "show"), ("db", "migrate")], ids=" ".join)
def test_json_means_the_same_before_any_word_of_a_command(operator: Operator, words: tuple[str, ...]) -> None:
    # On an empty queue no command changes anything, so that each can be run again.
    operator.create()
    outputs = set()
    for place in range(len(words) + 1):
        result = operator.run(*words[:place], "--json", *words[place:])
        outputs.add((result.exit_code, re.sub(r"\d{2}:\d{2}[^\"]*Z|[0-9.]+e?[0-9]*,", "…", result.output)))
    assert len(outputs) == 1, outputs


@pytest.mark.parametrize("words", [("--json", "status"), ("--json", "queue", "count"), ("queue", "--json", "count")])
def test_json_before_the_subcommand_prints_json(operator: Operator, words: tuple[str, ...]) -> None:
    operator.create().accept()
    result = operator.run(*words)
    assert result.exit_code == 0, result.output
    assert [type(json.loads(line)) for line in result.stdout.splitlines()] == [dict]


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_json_before_a_command_that_prints_none_is_code_2(operator: Operator, command: str) -> None:
    result = operator.run("--json", command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{command} prints nothing that --json could be of use for." in result.stderr


def _groups() -> list[tuple[str, ...]]:
    return [words for words in _leaves(program) if isinstance(_find(words), click.Group)]


def test_no_line_of_a_list_of_commands_is_cut_off(operator: Operator) -> None:
    for words in _groups():
        listed = operator.run(*words, "--help", env={"COLUMNS": "80"}).stdout.partition("Commands:\n")[2]
        assert listed
        assert [line for line in listed.splitlines() if line.endswith(("...", "…"))] == []


def _serve(operator: Operator, *words: str) -> tuple[int, str]:
    """In a process of its own, whose log `serve` sets up; its exit code and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "fallback_mx", "serve", "--config", str(operator.config), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--listen", "foo", '--listen: "foo" has no port; write an address and a port, for example "foo:25"'),
        ("--http", "x", '--http: "x" has no port; write an address and a port, for example "x:8025"'),
        ("--storage", "queue.db", '--storage: is a path, not a URL; write "sqlite:///queue.db"'),
    ],
)
def test_a_mistake_in_an_option_of_serve_is_blamed_on_the_option(
    operator: Operator, option: str, value: str, line: str
) -> None:
    assert _serve(operator, option, value) == (2, f"fallback-mx: {line}\n")


def test_a_mistake_in_the_file_is_blamed_on_the_file_whatever_the_options(operator: Operator) -> None:
    operator.config.write_text(operator.config.read_text() + "rise = 0\n")
    _, said = _serve(operator, "--listen", "127.0.0.1:0")
    assert said.startswith(f"fallback-mx: {operator.config}: primary[1].rise: ")


def _find(words: tuple[str, ...]) -> click.Command:
    command: click.Command = program
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    return command


def test_a_group_without_a_command_shows_its_help_with_code_2(operator: Operator) -> None:
    result = operator.run("queue")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: fallback-mx queue" in result.stderr


def test_the_version_is_the_packages(operator: Operator) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    assert __version__ in operator.run("--version").stdout


def test_help_brings_in_neither_the_database_library_nor_the_configuration() -> None:
    script = "import sys, fallback_mx.cli; print([m for m in ('sqlalchemy', 'pydantic', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
