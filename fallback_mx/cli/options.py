"""The options that stand at every command: --config and --json."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fallback_mx.config import Config

DEFAULT_CONFIG = "/etc/fallback-mx/fallback-mx.toml"
CONFIG_VARIABLE = "FALLBACK_MX_CONFIG"
_KEY = "fallback_mx.config"
_JSON_KEY = "fallback_mx.json"


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    # One memory for all levels of a command line: the option may stand before or after the subcommand.
    if value is not None:
        context.meta[_KEY] = value


config_option = click.option(
    "--config",
    metavar="FILE",
    expose_value=False,
    is_eager=True,
    callback=_remember,
    help=f"The configuration; otherwise ${CONFIG_VARIABLE}, otherwise {DEFAULT_CONFIG}.",
)


def _remember_json(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    # Like --config it may stand before or after the subcommand.
    if value:
        context.meta[_JSON_KEY] = True
    return bool(context.meta.get(_JSON_KEY))


_JSON_HELP = "Print JSON, a line for each item of a list."
json_option = click.option("--json", "as_json", is_flag=True, callback=_remember_json, help=_JSON_HELP)
# At a group, whose commands have the option above.
json_option_of_group = click.option(
    "--json", "as_json", is_flag=True, expose_value=False, callback=_remember_json, help=_JSON_HELP
)


def wants_json(context: click.Context) -> bool:
    """Whether --json has been given on this command line so far."""
    return bool(context.meta.get(_JSON_KEY))


def config_path() -> str:
    """The configuration file this command line means."""
    return config_path_of(click.get_current_context())


def config_path_of(context: click.Context) -> str:
    """The same, where a command line is being read."""
    chosen = context.meta.get(_KEY)
    return str(chosen or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)


def load_config() -> Config:
    """The configuration. Raises ConfigError."""
    from fallback_mx.config import load

    return load(config_path())
