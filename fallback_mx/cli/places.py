"""Kinds of options: where something listens, how long something may take, whom to name to another server."""

from __future__ import annotations

import click

from fallback_mx.cli.recipients_verify import read_address
from fallback_mx.durations import parse_duration
from fallback_mx.visible import visible


class Place(click.ParamType[tuple[str, int]]):
    """ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT for IPv6, or a bare IPv6 address, to (address, port)."""

    name = "place"

    def __init__(self, port: int) -> None:
        self._port = port

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, port = self._cut(value)
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            self.fail(f"{value!r} is no address and port, such as 9.9.9.9 or 127.0.0.1:5353", param, ctx)
        return host, int(port)

    def _cut(self, text: str) -> tuple[str, str]:
        if text.startswith("["):
            host, _, rest = text[1:].partition("]")
            return host, rest.removeprefix(":") if rest else str(self._port)
        if text.count(":") == 1:
            host, _, port = text.partition(":")
            return host, port
        return text, str(self._port)


class DurationSeconds(click.ParamType[float]):
    """ "30s", "2m", to seconds; more than none."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            seconds = parse_duration(value).total_seconds()
        except ValueError:
            seconds = 0.0
        if seconds <= 0:
            self.fail(f"{value!r} is not a duration such as 30s or 2m", param, ctx)
        return seconds


def the_path(text: str) -> str:
    """An address that every server can be told, "" for none. Raises click.UsageError."""
    path = str(read_address(text)) if text else ""
    if not path.isascii():
        raise click.UsageError(f"{visible(text)[:80]} is not ASCII, and not every server could be told it.")
    return path
