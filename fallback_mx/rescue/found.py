"""What has been found in a file: one message, with the envelope it travelled in, and as much as may be believed of it.

Files may have been written by anybody. An address goes by the same grammar as one that comes by SMTP (smtp/paths.py),
content by the same rule about line ends (smtp/content.py): what could be read in two ways is refused, with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fallback_mx.smtp import parameters, paths
from mxqueue import Origin, ReportRequest, Spool


class CannotImport(Exception):
    """A file, or what is in it, is not taken. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Addressee:
    """One recipient that still waits for the message."""

    path: paths.Path
    asked: ReportRequest = parameters.NO_REQUEST
    is_held: bool = False

    @property
    def address(self) -> str:
        return self.path.address


@dataclass(frozen=True, slots=True)
class Found:
    """One message. `spool` has its content and is the finder's to close; `origin` does not know who is held yet."""

    file: Path
    origin: Origin
    reverse_path: str
    addressees: tuple[Addressee, ...]
    spool: Spool
    client_address: str = ""
    helo: str = ""
    trace: bytes = b""
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


def reverse_path(text: str) -> str:
    """A reverse-path as it stood in a file; "" is the null one. Raises CannotImport."""
    try:
        path, rest = paths.reverse_path(f"FROM:<{text}>")
    except paths.BadPath as error:
        raise CannotImport(f"its sender {text!r} is no address: {error}") from None
    if rest:
        raise CannotImport(f"its sender {text!r} is no address")
    return path.address if path is not None else ""


def forward_path(text: str) -> paths.Path:
    """A recipient as it stood in a file. Raises CannotImport."""
    try:
        path, rest = paths.forward_path(f"TO:<{text}>")
    except paths.BadPath as error:
        raise CannotImport(f"its recipient {text!r} is no address: {error}") from None
    if rest:
        raise CannotImport(f"its recipient {text!r} is no address")
    return path


def request(notify: str, orcpt: str, *, smtputf8: bool) -> ReportRequest:
    """What the sender asked to be told. What is no such request any more is left out."""
    asked = {}
    for keyword, value in (("notify", notify), ("orcpt", orcpt)):
        try:
            parsed = parameters.of_rcpt(f" {keyword.upper()}={value}" if value else "", smtputf8=smtputf8)
        except parameters.BadParameter:
            continue
        asked[keyword] = getattr(parsed, keyword)
    return ReportRequest(**asked)


def message_parameters(ret: str, envid: str) -> tuple[str, str]:
    """RET and ENVID; what is none is left out."""
    kept = []
    for keyword, value in (("RET", ret), ("ENVID", envid)):
        try:
            parsed = parameters.of_mail(f" {keyword}={value}" if value else "")
        except parameters.BadParameter:
            parsed = parameters.NO_PARAMETERS
        kept.append(parsed.ret or parsed.envid)
    return kept[0], kept[1]


class LineEnds:
    """Looks at content, piece by piece, for octets that different servers read differently."""

    def __init__(self) -> None:
        self._last = b""

    def feed(self, piece: bytes) -> None:
        """Raises CannotImport."""
        if b"\0" in piece:
            raise CannotImport("there is a NUL in it")
        seam = self._last + piece
        pairs = seam.count(b"\r\n")
        is_open = seam.endswith(b"\r")
        if seam.count(b"\n") != pairs:
            raise CannotImport("there is a bare LF in it; lines must end in CRLF")
        if seam.count(b"\r") - is_open != pairs:
            raise CannotImport("there is a bare CR in it; lines must end in CRLF")
        self._last = b"\r" if is_open else b""

    def end(self) -> None:
        """Raises CannotImport."""
        if self._last:
            raise CannotImport("there is a bare CR in it; lines must end in CRLF")
