"""`fallback-mx config check|show`: is the configuration right, and what does it come to?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fallback_mx.cli.contracts import problems_of_contracts
from fallback_mx.cli.exits import DONE, USAGE
from fallback_mx.cli.options import config_option, config_path, json_option, json_option_of_group, load_config
from fallback_mx.cli.printing import print_json, say
from fallback_mx.spoken import counted

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.config_problems import Problem


@click.group()
@config_option
@json_option_of_group
def config() -> None:
    """Check the configuration, or show what it comes to.

    \b
    Examples:
      fallback-mx config check
      fallback-mx config show --config deploy/fallback-mx.toml
    """


@config.command(short_help="Say everything that is wrong with the configuration.")
@config_option
@json_option
def check(as_json: bool) -> int:
    """Say everything that is wrong with the configuration, each with what to write instead.

    The files and directories that it names are looked at too, as this user.

    \b
    Examples:
      fallback-mx config check --config new.toml && systemctl reload fallback-mx
      fallback-mx config check --json | jq .problems
    """
    from fallback_mx.config import ConfigError

    try:
        loaded = load_config()
        if problems_there := on_this_machine(loaded):
            raise ConfigError(Path(config_path()), problems_there)
    except ConfigError as error:
        if not as_json:
            raise
        problems = [{"key": one.key, "wrong": one.wrong, "write": one.write} for one in error.problems]
        print_json({"ok": False, "path": config_path(), "problems": problems})
        return USAGE
    if as_json:
        print_json({"ok": True, "path": config_path(), "problems": []})
    else:
        domains = sum(len(primary.domains) for primary in loaded.primaries)
        primaries = counted(len(loaded.primaries), "primary", "primaries")
        say(f"{config_path()} is right: {primaries}, {counted(domains, 'domain')}.")
    return DONE


def on_this_machine(loaded: Config) -> list[Problem]:
    """What a right configuration names and is not here, or cannot be used."""
    from fallback_mx.config_files import of_files
    from fallback_mx.config_problems import Problem
    from fallback_mx.smtp.tls import BadCertificate, server_context

    problems = [*of_files(loaded), *problems_of_contracts(loaded), *_of_tokens(loaded)]
    try:
        server_context(loaded.server.tls_certificate, loaded.server.tls_key)
    except BadCertificate as error:
        advice = error.advice.rstrip(".")
        problems.append(Problem("", str(error), advice[0].lower() + advice[1:]))
    return problems


def _of_tokens(loaded: Config) -> Iterator[Problem]:
    """A file that is not there is told with the other files."""
    from fallback_mx.config_problems import Problem
    from fallback_mx.published.tokens import ADVICE, read_tokens

    path = loaded.http.status_tokens_file
    if path is not None and path.is_file():
        customers = {primary.customer for primary in loaded.primaries if primary.customer}
        yield from (Problem("http.status_tokens_file", flaw, ADVICE) for flaw in read_tokens(path, customers)[1])


@config.command(short_help="Show every setting in force; passwords are hidden.")
@config_option
@json_option
def show(as_json: bool) -> int:
    """Show every setting in force, defaults and environment included; passwords are hidden.

    \b
    Examples:
      fallback-mx config show
      fallback-mx config show --json | jq -r '.primary[].name'
    """
    shown = load_config().shown()
    if as_json:
        print_json(shown)
    else:
        click.echo("\n".join(_as_toml(shown)))
    return DONE


def _as_toml(tables: Mapping[str, Any]) -> Iterator[str]:
    for name, table in tables.items():
        for one in table if isinstance(table, list) else [table]:
            yield f"[[{name}]]" if isinstance(table, list) else f"[{name}]"
            for key, value in one.items():
                # What is not set has no form in TOML.
                yield f"# {key} is not set" if value is None else f"{key} = {_toml_value(value)}"
            yield ""


def _toml_value(value: object) -> str:
    # A JSON string, number, boolean or list of these is a TOML value of the same meaning; escapes are alike too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
