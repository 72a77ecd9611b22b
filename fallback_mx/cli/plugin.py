"""What makes a command a plugin for Nagios, Icinga and their like: its exit code, one line, and figures behind a bar.

The Monitoring Plugins Development Guidelines say what stands here: 0 is ok, 1 a warning, 2 critical, 3 unknown, and the
first line of standard output is all that a pager shows. So whatever goes wrong, a configuration that is not right, an
option that does not exist, a database that does not answer, is one line there and code 3, and nothing else.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import click

from fallback_mx.visible import visible


class Level(IntEnum):
    """Nagios's exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def worst(levels: Sequence[Level]) -> Level:
    """What is critical goes before what is unknown, which goes before a warning."""
    return max(levels, key=(Level.OK, Level.WARNING, Level.UNKNOWN, Level.CRITICAL).index, default=Level.OK)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A range of figures that are all right, both ends included; `inside` turns it about: those are what is wrong.

    `text` is as it was typed, and as it stands among the figures.
    """

    text: str
    lowest: float = 0.0
    highest: float = math.inf
    inside: bool = False

    def alerts(self, value: float) -> bool:
        return (self.lowest <= value <= self.highest) is self.inside


_RANGE = re.compile(r"(@?)(?:([^:@]*):)?([^:@]*)")


def threshold(text: str, read: Callable[[str], float] = float) -> Threshold:
    """A threshold as the guidelines write it: `10`, `10:`, `~:10`, `10:20`, `@10:20`. Raises ValueError.

    `read` makes a number of what stands there, so that "2h" or "5GB" may. The text is written with numbers alone.
    """
    found = _RANGE.fullmatch(text)
    if found is None or not any(found[group] for group in (2, 3)):
        raise ValueError(text)
    mark, start, end = found.groups()
    lowest = -math.inf if start == "~" else read(start) if start else 0.0
    highest = read(end) if end else math.inf
    if not lowest <= highest or math.isnan(highest) or lowest == math.inf:
        raise ValueError(text)
    above = "" if highest == math.inf else f"{highest:g}" if abs(highest) < 1e6 else f"{highest:.0f}"
    below = "~:" if lowest == -math.inf else "" if lowest == 0 and above else f"{_number(lowest)}:"
    return Threshold(f"{mark}{below}{above}", lowest, highest, bool(mark))


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure for a graph, with the thresholds that it was held against."""

    label: str
    value: float
    unit: str = ""
    warning: Threshold | None = None
    critical: Threshold | None = None
    lowest: float | None = 0

    def __str__(self) -> str:
        limits = [each.text if each is not None else "" for each in (self.warning, self.critical)]
        least = "" if self.lowest is None else _number(self.lowest)
        # A quote in a label is doubled; an equals sign and a bar would end it.
        label = visible(self.label).replace("'", "''").replace("=", "_").replace("|", "_")
        return f"'{label}'={_number(self.value)}{self.unit};{';'.join([*limits, least])}"

    @property
    def level(self) -> Level:
        if self.critical is not None and self.critical.alerts(self.value):
            return Level.CRITICAL
        return Level.WARNING if self.warning is not None and self.warning.alerts(self.value) else Level.OK


def answer(service: str, level: Level, said: str, figures: Sequence[Figure] = ()) -> int:
    """Print the one line, and return the exit code."""
    line = f"{service} {level.name} - {visible(said).replace('|', '/')}"
    click.echo(f"{line} | {' '.join(map(str, figures))}" if figures else line)
    return int(level)


class Plugin(click.Group):
    """A group whose commands end by a plugin's exit code, however they end."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            raise
        except Exception as error:
            raise click.exceptions.Exit(_unknown(error)) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            raise
        except Exception as error:
            raise click.exceptions.Exit(_unknown(error)) from None


def _unknown(error: Exception) -> int:
    from fallback_mx.cli.exits import report

    # Everything that any command may end with has its words there.
    heard = io.StringIO()
    with redirect_stderr(heard):
        report(error)
    lines = [line.removeprefix("fallback-mx: ") for line in heard.getvalue().splitlines()]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return answer("CHECK", Level.UNKNOWN, f"{lines[0] if lines else type(error).__name__}{more}")
