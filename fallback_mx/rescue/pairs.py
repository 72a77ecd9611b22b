"""Messages as pairs of files: ID.eml is the content, octet by octet, and ID.json the envelope it travelled in.

A pair is there wholly or not at all: each file is written beside its place, brought to the disk and then moved there,
the .json last, and it is the .json that a reader begins with. It names the SHA-256 of the content.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from fallback_mx.rescue.found import (
    Addressee,
    CannotImport,
    Found,
    LineEnds,
    forward_path,
    message_parameters,
    request,
    reverse_path,
)
from mxqueue import Message, Origin, RecipientState, Spool

FORMAT = 1
PIECE_OCTETS = 1024 * 1024
_WAITING = (RecipientState.PENDING.value, RecipientState.HELD.value)


def write(directory: Path, message: Message, content: Iterable[bytes]) -> None:
    """Write one pair, over one of the same id. Raises OSError, and whatever reading the content raises."""
    digest = sha256()

    def counted() -> Iterable[bytes]:
        for piece in content:
            digest.update(piece)
            yield piece

    _put(directory / f"{message.id}.eml", counted())
    envelope = json.dumps(_envelope(message, digest.hexdigest()), indent=1)
    _put(directory / f"{message.id}.json", [envelope.encode("ascii") + b"\n"])


def sync(directory: Path) -> None:
    """Bring the names of what was written to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(path: Path, pieces: Iterable[bytes]) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        # Mail is nobody's but its recipients'.
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _envelope(message: Message, digest: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": message.id,
        "node": message.node,
        "primary": message.route,
        "arrived_at": message.arrived_at.astimezone(UTC).isoformat(),
        "client_address": message.client_address,
        "helo": message.helo,
        "reverse_path": message.reverse_path,
        "body": message.body,
        "smtputf8": message.smtputf8,
        "ret": message.ret,
        "envid": message.envid,
        "recipients": [
            {
                "forward_path": each.forward_path,
                "state": each.state.value,
                "attempts": each.attempts,
                "last_reply": each.last_reply,
                "notify": each.notify,
                "orcpt": each.orcpt,
            }
            for each in message.recipients
        ],
        "trace": message.trace.decode("latin-1"),
        "size": message.size,
        "sha256": digest,
    }


def read(path: Path, new_spool: Callable[[], Spool]) -> Found:
    """The message whose envelope is in this .json. Raises CannotImport."""
    fields = _Fields(path)
    if fields.number("format") != FORMAT:
        raise CannotImport(f"it has format {fields.number('format')}, this version reads {FORMAT}")
    smtputf8 = fields.flag("smtputf8")
    addressees = []
    for entry in fields.entries("recipients"):
        if (state := entry.text("state")) in _WAITING:
            asked = request(entry.text("notify"), entry.text("orcpt"), smtputf8=smtputf8)
            is_held = state == RecipientState.HELD.value
            addressees.append(Addressee(forward_path(entry.text("forward_path")), asked, is_held))
    if not addressees:
        raise CannotImport("none of its recipients waits for it any more")
    ret, envid = message_parameters(fields.text("ret"), fields.text("envid"))
    return Found(
        file=path,
        origin=_origin(fields),
        reverse_path=reverse_path(fields.text("reverse_path")),
        addressees=tuple(addressees),
        spool=_content(path.with_suffix(".eml"), fields.text("sha256"), new_spool),
        client_address=fields.text("client_address"),
        helo=fields.text("helo"),
        trace=_trace(fields.text("trace")),
        body="8BITMIME" if fields.text("body") == "8BITMIME" else "7BIT",
        smtputf8=smtputf8,
        ret=ret,
        envid=envid,
    )


def _origin(fields: _Fields) -> Origin:
    queue_id, arrived = fields.text("id"), fields.text("arrived_at")
    try:
        moment = datetime.fromisoformat(arrived).astimezone(UTC)
    except ValueError:
        raise CannotImport(f"arrived_at {arrived!r} is no time") from None
    if not queue_id or len(queue_id) > 26:
        raise CannotImport(f"its id {queue_id!r} is none")
    return Origin(queue_id, f"{queue_id} at {fields.text('node')}, arrived {moment:%Y-%m-%dT%H:%M:%SZ}")


def _trace(text: str) -> bytes:
    """The Received line, which goes before the content as it stands: it must be a header line and nothing more."""
    try:
        trace = text.encode("latin-1")
    except UnicodeEncodeError:
        raise CannotImport("its trace is not a Received line") from None
    checked = LineEnds()
    checked.feed(trace)
    checked.end()
    lines = trace.split(b"\r\n")
    if trace and not (lines[0].startswith(b"Received: ") and lines[-1] == b"" and _are_folds(lines[1:-1])):
        raise CannotImport("its trace is not a Received line")
    return trace


def _are_folds(lines: list[bytes]) -> bool:
    return all(line.startswith((b"\t", b" ")) and line.strip() for line in lines)


def _content(path: Path, digest: str, new_spool: Callable[[], Spool]) -> Spool:
    if path.exists() and not path.is_file():
        raise CannotImport(f"{path.name} is no file")
    spool, line_ends = new_spool(), LineEnds()
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_OCTETS):
                line_ends.feed(piece)
                spool.write(piece)
        line_ends.end()
        if spool.sha256.hex() != digest:
            raise CannotImport(f"{path.name} is not the content that was exported: its SHA-256 is another")
    except FileNotFoundError:
        spool.close()
        raise CannotImport(f"{path.name} is missing beside it") from None
    except OSError as error:
        spool.close()
        raise CannotImport(f"{path.name} cannot be read: {error.strerror}") from None
    except BaseException:
        spool.close()
        raise
    return spool


class _Fields:
    """An object of JSON that should have certain fields of certain kinds."""

    def __init__(self, source: Path | dict[str, Any]) -> None:
        self._values = source if isinstance(source, dict) else _load(source)

    def text(self, name: str) -> str:
        return str(self._of(name, str))

    def number(self, name: str) -> int:
        return int(self._of(name, int))

    def flag(self, name: str) -> bool:
        return bool(self._of(name, bool))

    def entries(self, name: str) -> list[_Fields]:
        return [_Fields(each) for each in self._of(name, list) if isinstance(each, dict)]

    def _of(self, name: str, kind: type) -> Any:
        value = self._values.get(name)
        if type(value) is not kind:
            raise CannotImport(f"{name} is missing from it, or is not what it should be")
        if isinstance(value, str):
            value.encode()  # half a surrogate pair is no text
        return value


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CannotImport(f"is missing beside {path.with_suffix('.eml').name}") from None
    except OSError as error:
        raise CannotImport(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise CannotImport("it is not JSON") from None
    if not isinstance(values, dict):
        raise CannotImport("it is no envelope")
    return values
