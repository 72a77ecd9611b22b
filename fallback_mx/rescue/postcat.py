"""A message out of Postfix's queue, as its `postcat` prints it (postcat(1)): envelope records, content, end mark.

Postfix keeps lines without their ends, so that they come out with LF; here they get back the CRLF with which they came.
Recipients that Postfix has delivered to already are not among those that it prints as such. What is cut off, or was
printed with offsets (-o), is refused.
"""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

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
from mxqueue import Origin, ReportRequest, Spool

HEAD = b"*** ENVELOPE RECORDS "
_MARKS = tuple(b"\n*** " + word for word in (b"MESSAGE CONTENTS ", b"HEADER EXTRACTED ", b"MESSAGE FILE END "))
# How -v marks what the lines of content were in the file.
_KINDS = {b"regular_text": b"\r\n", b"unterminated_text": b""}
_VERBOSE = re.compile(rb"(regular_text|unterminated_text|pointer_record|padding): (.*)", re.DOTALL)
# The flags of Postfix's dsn_mask.h.
_NOTIFY = {1: "NEVER", 2: "SUCCESS", 4: "FAILURE", 8: "DELAY"}
_RET = {"1": "FULL", "2": "HDRS"}
_SMTPUTF8_REQUESTED = 1


def read(file: Path, printed: bytes, new_spool: Callable[[], Spool]) -> Found:
    """The message that `postcat` has printed. Raises CannotImport."""
    envelope, content, extracted = _parts(printed)
    records = _Records(envelope, extracted)
    spool, line_ends = new_spool(), LineEnds()
    try:
        for line in _lines(content):
            line_ends.feed(line)
            spool.write(line)
        line_ends.end()
    except BaseException:
        spool.close()
        raise
    try:
        return records.found(file, spool)
    except BaseException:
        spool.close()
        raise


def _parts(printed: bytes) -> tuple[bytes, bytes, bytes]:
    """Envelope, content, and what was taken out of the header.

    The content may hold such marks itself: the first of the first kind and the last of the others are Postfix's own.
    """
    head, _, _ = printed.partition(b"\n")
    name = head[len(HEAD) :]
    contents, extracted, end = (mark + name + b"\n" for mark in _MARKS)
    first, last = printed.find(contents), printed.rfind(extracted)
    if not head.startswith(HEAD) or not printed.endswith(end) or not 0 <= first < last:
        raise CannotImport("it is not all that postcat prints of a message, or was printed with other options than -v")
    envelope = printed[len(head) + 1 : first]
    # Both marks share the line end between them where there is no content at all.
    return envelope, printed[first + len(contents) : last + 1], printed[last + len(extracted) : -len(end)]


def _lines(content: bytes) -> Iterator[bytes]:
    lines = content.split(b"\n")[:-1]
    verbose = [_VERBOSE.fullmatch(line) for line in lines]
    for line, match in zip(lines, verbose, strict=True):
        if not all(verbose):
            yield line + b"\r\n"
        elif match is not None and match[1] in _KINDS:
            yield match[2] + _KINDS[match[1]]


class _Records:
    """What the envelope says, record by record."""

    def __init__(self, envelope: bytes, extracted: bytes) -> None:
        self._attributes: dict[str, str] = {}
        self._recipients: list[tuple[str, dict[str, str]]] = []
        self._sender: str | None = None
        self._sizes: list[str] = []
        self._arrival = ""
        for part in (envelope, extracted):
            self._read(part.decode("utf-8", "surrogateescape"))

    def _read(self, part: str) -> None:
        own: dict[str, str] = {}
        for line in part.split("\n"):
            kind, _, value = line.partition(": ")
            if kind == "named_attribute":
                name, _, value = value.partition("=")
                # These two go before the recipient whose they are.
                (own if name in ("notify_flags", "dsn_orig_rcpt") else self._attributes)[name] = value
            elif kind == "recipient":
                self._recipients.append((value, own))
                own = {}
            elif kind.startswith("done_recipient") or kind == "canceled_recipient":
                own = {}
            elif kind == "sender":
                self._sender = value
            elif kind == "message_size":
                self._sizes = value.split()
            elif kind == "message_arrival_time":
                self._arrival = value

    def found(self, file: Path, spool: Spool) -> Found:
        if self._sender is None or not self._arrival:
            raise CannotImport("it has no sender, or no time of arrival")
        if not self._recipients:
            raise CannotImport("none of its recipients waits for it any more")
        smtputf8 = len(self._sizes) > 5 and bool(int(self._sizes[5]) & _SMTPUTF8_REQUESTED)
        attribute = self._attributes.get
        ret, envid = message_parameters(_RET.get(attribute("ret_flags", ""), ""), xtext(attribute("envelope_id", "")))
        sender = reverse_path(self._sender)
        return Found(
            file=file,
            origin=self._origin(file, sender),
            reverse_path=sender,
            addressees=tuple(
                Addressee(forward_path(address), _request(own, smtputf8=smtputf8)) for address, own in self._recipients
            ),
            spool=spool,
            client_address=_known(attribute("client_address", "")),
            helo=_known(attribute("helo_name", "")),
            body="8BITMIME" if attribute("encoding") == "8bit" else "7BIT",
            smtputf8=smtputf8,
            ret=ret,
            envid=envid,
        )

    def _origin(self, file: Path, sender: str) -> Origin:
        # Postfix uses its shorter ids again, and two servers may have the same.
        queue_id = self._attributes.get("log_ident") or file.name
        whole = "\n".join((queue_id, self._arrival, sender)).encode("utf-8", "surrogateescape")
        return Origin(
            b32encode(sha256(whole).digest()).decode()[:26], f"{queue_id} of Postfix, arrived {self._arrival}"
        )


def _request(own: dict[str, str], *, smtputf8: bool) -> ReportRequest:
    flags = own.get("notify_flags", "")
    asked = [word for bit, word in _NOTIFY.items() if flags.isdigit() and int(flags) & bit]
    kind, mark, address = own.get("dsn_orig_rcpt", "").partition(";")
    return request(",".join(asked), kind + mark + xtext(address), smtputf8=smtputf8)


def _known(text: str) -> str:
    return "" if text == "unknown" else text


def xtext(text: str) -> str:
    """Text as a value of RFC 3461 (section 4)."""
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(chr(one) if 33 <= one <= 126 and one not in b"+=" else f"+{one:02X}" for one in octets)
