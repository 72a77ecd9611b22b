"""The manual pages that are made from the help, and what a shell completes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.cli import NOUNS, manual, program
from tests.fakes.operator import Operator


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("man")
    manual.write(path)
    return path


def test_every_command_has_a_page(directory: Path) -> None:
    names = {path.name for path in directory.iterdir()}
    assert {"fallback-mx.1", *(f"fallback-mx-{noun}.1" for noun in NOUNS)} <= names
    assert {"fallback-mx-queue-list.1", "fallback-mx-sla-claim-add.1"} <= names


def test_a_page_has_the_options_the_examples_and_the_exit_codes_of_its_help(directory: Path) -> None:
    page = (directory / "fallback-mx-queue-list.1").read_text()
    for part in (r"\-\-older AGE", r"fallback\-mx queue list \-\-older 1d", "nothing matched", ".SH EXAMPLES"):
        assert part in page
    assert "\b" not in page


def test_the_pages_of_check_have_the_exit_codes_of_a_plugin(directory: Path) -> None:
    page = (directory / "fallback-mx-check-queue.1").read_text()
    assert "critical" in page.partition(".SH EXIT STATUS")[2]
    assert "database unreachable" not in page


def test_pages_of_commands_that_are_gone_go(directory: Path) -> None:
    (directory / "fallback-mx-gone.1").write_text("old")
    manual.write(directory)
    assert not (directory / "fallback-mx-gone.1").exists()


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs the Debian package groff")
def test_no_page_has_markup_that_man_does_not_know(directory: Path) -> None:
    pages = sorted(map(str, directory.iterdir()))
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-Wbreak", "-Kutf8", *pages],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert re.sub(r".*(cannot adjust|can't break) line.*\n", "", done.stderr) == ""
    assert "fallback-mx queue list --older 1d --json | jq -r .id" in re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_no_text_begins_a_line_that_is_a_request(words: str) -> None:
    escaped = manual.text(words)
    assert not escaped.startswith((".", "'"))
    assert "'" not in escaped


# Completion ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def _completed(operator: Operator, line: str) -> list[str]:
    """What the shell would be offered at the end of this line."""
    words = line.split(" ")
    result = operator.run(
        env={
            "_FALLBACK_MX_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
    )
    return [offered.partition(",")[2] for offered in result.stdout.splitlines() if offered]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fallback-mx qu", ["queue"]),
        ("fallback-mx queue sha", ["shape"]),
        ("fallback-mx queue list --primary ", ["main", "other"]),
        ("fallback-mx queue list --primary o", ["other"]),
        ("fallback-mx primary pause ma", ["main"]),
        ("fallback-mx primary force main ", ["up", "down"]),
        ("fallback-mx recipients list --primary m", ["main"]),
        ("fallback-mx check primary main o", ["other"]),
        ("fallback-mx queue list --state he", ["held"]),
        ("fallback-mx --config /nowhere.toml queue list --primary ", []),
    ],
)
def test_commands_states_and_the_names_of_primaries_are_completed(
    operator: Operator, line: str, offered: list[str]
) -> None:
    assert _completed(operator, line) == offered


def test_a_configuration_that_cannot_be_read_offers_no_names(operator: Operator) -> None:
    for text in ("primary = 3\n", "[[primary\n", "[[primary]]\n", '[primary]\nname = "x"\n'):
        operator.config.write_text(text)
        assert _completed(operator, "fallback-mx queue list --primary ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_the_program(operator: Operator, shell: str) -> None:
    result = operator.run("completion", shell)
    assert result.exit_code == 0
    assert f"_FALLBACK_MX_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_by_the_script(operator: Operator, tmp_path: Path) -> None:
    script = operator.run("completion", "bash").stdout
    program_file = tmp_path / "fallback-mx"
    program_file.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from fallback_mx.cli import main; main()' \"$@\"\n")
    program_file.chmod(0o755)
    ask = "COMP_WORDS=(fallback-mx queue list --primary o); COMP_CWORD=4; _fallback_mx_completion fallback-mx"
    done = subprocess.run(
        ["bash", "-c", f'{script}\n{ask}\necho "${{COMPREPLY[@]}}"'],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FALLBACK_MX_CONFIG": str(operator.config)}
        | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stdout.strip(), done.stderr) == ("other", "")


def test_every_command_has_examples_in_its_help() -> None:
    def walk(command: click.Command, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        bare = [] if "Examples:" in (command.help or "") else [words]
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                bare += walk(below, (*words, name))
        return bare

    assert walk(program, ()) == []
