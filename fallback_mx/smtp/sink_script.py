"""What a sink can be told to answer, and what it keeps."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fallback_mx.smtp.sink_session import SinkSession


class Act(Enum):
    """What a script can answer in place of a reply."""

    DROP = "cut the connection"
    SILENT = "keep the connection, and never say another word on it"
    KEEP_THEN_DROP = "keep the message, and cut the connection before saying so"
    KEEP_THEN_SILENT = "keep the message, and never say so"


Answer = str | bytes | Act | None
"""A reply without its CRLF, raw octets, an act, or None for what the sink says by itself."""

Script = Answer | Callable[["SinkSession", str], Answer]
"""An answer, or what gives one from the session and the command's argument."""


@dataclass(frozen=True, slots=True)
class SinkMessage:
    """One transaction as it arrived: `content` is without dot-stuffing and without the final dot."""

    reverse_path: str
    forward_paths: tuple[str, ...]
    content: bytes
    mail_parameters: tuple[str, ...]


class Shelf(Protocol):
    """What a session knows of the sink that it belongs to."""

    replies: dict[str, Script]
    extensions: tuple[str, ...]
    tls: ssl.SSLContext | None
    keep: bool
    message_count: int
    commands: list[bytes]

    def joined(self, session: SinkSession) -> None: ...
    def left(self, session: SinkSession) -> None: ...
    def take(self, message: SinkMessage) -> None: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk that has been announced."""

    size: int
    is_last: bool
