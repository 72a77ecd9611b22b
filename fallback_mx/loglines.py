"""How an event becomes a line of the log, and how the line leaves the process.

Two forms: logfmt (key=value, quoted where it must be) and one JSON object. Time, level and queue id come first. A line
is one write; when that fails (a full disk, a pipe whose reader has gone) the line is lost and counted, and the caller
never hears of it: mail does not wait for its log, nor fail by it.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO

from fallback_mx.visible import visible

MAX_VALUE = 8000
SHORT_VALUE = 100

# Printable ASCII that needs no quotes: all but the space, the quote, the equals sign and the backslash.
_PLAIN = re.compile(rf"[!#-<>-\[\]-~]{{1,{MAX_VALUE}}}")


class Lines:
    """The stream under the log, standard error if none is given. Safe to call from any thread."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._held = threading.local()
        self.lost = 0

    def write(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        held: list[bytes] | None = getattr(self._held, "lines", None)
        if held is None:
            self._write(data)
        else:
            held.append(data)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What this thread writes within goes out at the end, several lines in one write."""
        self._held.lines = []
        try:
            yield
        finally:
            lines, self._held.lines = self._held.lines, None
            for piece in _pieces(lines):
                self._write(piece)

    def _write(self, data: bytes) -> None:
        try:
            stream = self._stream or sys.stderr.buffer
            with self._lock:
                stream.write(data)
                stream.flush()
        except (OSError, ValueError, AttributeError):
            self.lost += data.count(b"\n")


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The lines put together as far as a write to a pipe is not cut in two by another process's."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > select.PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


Render = Callable[[str, str, dict[str, Any]], str]
LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Writes the events of a level and above, each as one line; those below cost a call and nothing else."""

    def __init__(self, lines: Lines, render: Render, level: str) -> None:
        self._lines = lines
        self._render = render
        self._lowest = LEVELS.index(level)

    def debug(self, name: str, **fields: Any) -> None:
        self._event(0, name, fields)

    def info(self, name: str, **fields: Any) -> None:
        self._event(1, name, fields)

    def warning(self, name: str, **fields: Any) -> None:
        self._event(2, name, fields)

    def error(self, name: str, **fields: Any) -> None:
        self._event(3, name, fields)

    def _event(self, level: int, name: str, fields: dict[str, Any]) -> None:
        if level >= self._lowest:
            self._lines.write(self._render(LEVELS[level], name, fields))


def logfmt(level: str, name: str, event: dict[str, Any]) -> str:
    """The event as key=value pairs."""
    parts = [f"time={_now()} level={level}"]
    if "id" in event:
        parts.append(f"id={_quoted(event.pop('id'))}")
    parts.append(f"event={name}")
    for key, value in event.items():
        if value is None:
            continue
        if type(value) is str and len(value) <= SHORT_VALUE:
            parts.append(f"{key}={_word(value)}")
        elif type(value) is int:
            parts.append(f"{key}={value}")
        else:
            parts.append(f"{key}={_quoted(_shown(value))}")
    return " ".join(parts)


def as_json(level: str, name: str, event: dict[str, Any]) -> str:
    """The event as one JSON object."""
    fields: dict[str, Any] = {"time": _now(), "level": level}
    if "id" in event:
        fields["id"] = event.pop("id")
    fields["event"] = name
    fields.update((key, _shown(value)) for key, value in event.items() if value is not None)
    return json.dumps(fields, default=str)


def _quoted(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    # Backslashes first: those that come after are ours, and a value's last one must not eat the closing quote.
    return '"' + visible(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


# Domains, names and most replies come again and again.
_word = lru_cache(maxsize=1024)(_quoted)


def _shown(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= MAX_VALUE else value[: MAX_VALUE - 1] + "…"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, float):
        return round(value, 3)
    return value


def _now() -> str:
    # This stands in every line, and many lines are of one moment.
    return _moment(time.time_ns() // 1_000_000)


@lru_cache(maxsize=4)
def _moment(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1_000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    # datetime.isoformat takes ten times as long.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
