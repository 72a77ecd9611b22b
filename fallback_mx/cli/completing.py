"""What a shell offers when the tab key is pressed at a primary's name.

The names are read out of the configuration file as it stands, without checking it: a shell waits for this at every
press. Where there is no such file, or it cannot be read, nothing is offered.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click


def primary_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of the configured primaries that begin with what has been typed."""
    return [name for name in _configured(context) if name.startswith(incomplete)]


def _configured(context: click.Context) -> list[str]:
    from fallback_mx.cli.options import config_path_of

    try:
        tables: dict[str, Any] = tomllib.loads(Path(config_path_of(context)).read_text(encoding="utf-8-sig"))
        return [str(one["name"]) for one in tables.get("primary", []) if "name" in one]
    except (OSError, ValueError, TypeError, AttributeError):
        return []
