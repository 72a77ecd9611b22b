"""The kinds of value that say how a primary is watched, and which of those keys go together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from fallback_mx.config_fields import duration_or_off, host_of
from fallback_mx.config_problems import Problem
from fallback_mx.config_unfit import quoted, text_of, unfit
from fallback_mx.durations import format_duration

Tables = Sequence[Mapping[str, Any]]
_HOST_AND_PORT = re.compile(r"(.+):(\d{1,5})")
_MAILBOX = re.compile(r"[^\s<>@,]+@[^\s<>@,]+")


@dataclass(frozen=True, slots=True)
class WatchedPort:
    """A TCP port, of the primary's own host where none is written."""

    port: int
    host: str | None = None

    def __str__(self) -> str:
        if self.host is None:
            return str(self.port)
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _port(number: int, written: object) -> int:
    if not 1 <= number <= 65535:
        raise unfit(f"{quoted(written)} is a port that there is not", "write a port from 1 to 65535")
    return number


def _host_and_port(value: Any, example: str) -> WatchedPort:
    text = text_of(value, example)
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None or (":" in found[1] and not found[1].startswith("[")):
        raise unfit(f"{quoted(text)} is not a host and a port", f'write both, for example "{example}"')
    bare = found[1].removeprefix("[").removesuffix("]")
    return WatchedPort(_port(int(found[2]), text), host_of(bare))


def _watched_port(value: Any) -> WatchedPort:
    if isinstance(value, int) and not isinstance(value, bool):
        return WatchedPort(_port(value, value))
    if isinstance(value, str) and value.isascii() and value.isdigit():
        raise unfit(f"{quoted(value)} is text", f"write the port without quotes: {value}")
    return _host_and_port(value, "webmail.example.org:443")


def _control(value: Any) -> WatchedPort:
    if isinstance(value, int) and not isinstance(value, bool):
        raise unfit(f"{value} is a port alone", 'write an address and a port, for example "192.0.2.1:53"')
    return _host_and_port(value, "192.0.2.1:53")


def _mailbox(value: Any) -> str:
    text = text_of(value, "postmaster@example.org")
    if _MAILBOX.fullmatch(text) is None or not text.isprintable() or not text.isascii():
        raise unfit(f"{quoted(text)} is not a mail address", 'write one such as "postmaster@example.org"')
    return text


_PORT_AS_WRITTEN = PlainSerializer(lambda port: port.port if port.host is None else str(port), return_type=int | str)
WatchedPortField = Annotated[WatchedPort, PlainValidator(_watched_port), _PORT_AS_WRITTEN]
ControlField = Annotated[WatchedPort, PlainValidator(_control), PlainSerializer(str, return_type=str)]
Mailbox = Annotated[str, PlainValidator(_mailbox)]
SlowOrOff = Annotated[
    timedelta | None,
    PlainValidator(partial(duration_or_off, shortest=timedelta(milliseconds=1), longest=timedelta(minutes=10))),
    PlainSerializer(lambda limit: "off" if limit is None else format_duration(limit), return_type=str),
]


# What goes together ----------------------------------------------------------------------------------------------


def of_watching(tables: Tables, monitor: object) -> list[Problem]:
    """How each primary is watched, and by what our own network is told from it."""
    problems: list[Problem] = []
    for index, table in enumerate(tables):
        problems += _of_primary(table, f"primary[{index}]")
    problems += _of_controls(monitor)
    return problems


def _of_primary(table: Mapping[str, Any], key: str) -> Iterator[Problem]:
    depth = table.get("probe", "starttls")
    if "probe_recipient" in table and depth != "transaction":
        wrong = f"is set, and probe is {quoted(depth)}: nobody would be asked for"
        yield Problem(f"{key}.probe_recipient", wrong, 'write probe = "transaction", or take it out')
    seen: set[WatchedPort] = set()
    for name in ("down_ports", "alert_ports"):
        for position, port in _ports(table, name):
            if port in seen:
                wrong = f"{quoted(str(port))} stands twice"
                yield Problem(f"{key}.{name}[{position}]", wrong, "write it once, in one of the two lists")
            seen.add(port)


def _ports(table: Mapping[str, Any], name: str) -> Iterator[tuple[int, WatchedPort]]:
    values = table.get(name)
    for position, value in enumerate(values if isinstance(values, list) else ()):
        try:
            yield position, _watched_port(value)
        except PydanticCustomError:
            continue  # reported where the value was read


def _of_controls(monitor: object) -> Iterator[Problem]:
    controls = monitor.get("controls") if isinstance(monitor, Mapping) else None
    if not isinstance(controls, list):
        return
    if len(controls) == 1:
        wrong = "is one alone: if it fails nobody can tell it from our own network"
        yield Problem("monitor.controls", wrong, "write two or more, in different networks")
    for index, control in enumerate(controls):
        if control in controls[:index]:
            yield Problem(f"monitor.controls[{index}]", f"{quoted(control)} stands twice", "write it once")
