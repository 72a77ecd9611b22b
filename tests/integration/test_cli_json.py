"""docs/json.md and docs/json.schema.json: every command with --json prints what they say, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator

from fallback_mx.cli import program
from tests.fakes.every_command import EveryCommand, Told

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "json.schema.json").read_text(encoding="utf-8"))
PAGE = (DOCS / "json.md").read_text(encoding="utf-8")


def _commands(command: click.Command, *words: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, *words, name)
    elif any("--json" in parameter.opts for parameter in command.params):
        yield " ".join(words)


COMMANDS = list(_commands(program))


def _strict(schema: Any) -> Any:
    """The schema with no room for fields that it does not name: what is printed is to be documented."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema and "type" in schema else {}
    return closed | {key: _strict(value) for key, value in schema.items()}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return EveryCommand(tmp_path_factory.mktemp("every")).all()


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_command_with_json_is_defined_in_the_schema() -> None:
    assert {name.replace(" ", "-") for name in COMMANDS} - set(SCHEMA["$defs"]) == set()


def test_the_page_names_every_command_with_json_and_no_other() -> None:
    table = PAGE.partition("## The commands")[2]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([^`]+)`", " ".join(cells))) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_is_what_the_schema_says_and_all_of_it(name: str, told: Told) -> None:
    assert told.get(name), f"{name} is run by nobody: let tests/fakes/every_command.py run it"
    validator = Draft202012Validator(_strict(SCHEMA) | {"$ref": f"#/$defs/{name.replace(' ', '-')}"})
    for line in told[name]:
        wrong = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(line)]
        assert wrong == [], line


def test_a_field_that_the_schema_does_not_name_is_found(told: Told) -> None:
    validator = Draft202012Validator(_strict(SCHEMA) | {"$ref": "#/$defs/queue-list"})
    assert not validator.is_valid(told["queue list"][0] | {"new": 1})
    assert Draft202012Validator(SCHEMA | {"$ref": "#/$defs/queue-list"}).is_valid(told["queue list"][0] | {"new": 1})
