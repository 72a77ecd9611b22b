"""How results look: tables on a terminal, tab-separated text in a pipe, JSON when asked for.

Text from mail is made visible before it is printed and is never read as markup: a sender's address cannot colour,
move or clear anything. JSON is ASCII alone. NO_COLOR is honoured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import click

from fallback_mx.visible import visible


def on_terminal() -> bool:
    return sys.stdout.isatty()


def say(text: str) -> None:
    """One line of prose on standard output."""
    click.echo(visible(text))


def called(file: IO[bytes]) -> str:
    """What a file that was opened is called in a message; standard input may have no name."""
    name = getattr(file, "name", "")
    return name if isinstance(name, str) and name else "<stdin>"


def print_json(value: object) -> None:
    """One line of JSON; datetimes as RFC 3339 in UTC."""
    click.echo(json.dumps(value, default=_json_default))


def _json_default(value: object) -> Any:
    if isinstance(value, datetime):
        return exact(value)
    raise TypeError(type(value).__name__)


def exact(moment: datetime) -> str:
    """A moment to the microsecond, as programs read it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def short(moment: datetime | None) -> str:
    """A moment to the second, as people read it; "" for none."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), fixed: Sequence[str] = ()
) -> None:
    """Rows under a heading. `right` columns are numbers; `fixed` columns are never cut or wrapped on a terminal."""
    if on_terminal():
        from fallback_mx.cli.tables import print_rows

        print_rows(columns, rows, right, fixed)
        return
    click.echo("\t".join(columns))
    for row in rows:
        click.echo("\t".join(visible(str(cell)) for cell in row))
