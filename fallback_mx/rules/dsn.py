"""Renders a report that mail could not be delivered (RFC 3464), for the reverse-path of that mail.

Three parts (RFC 6522): a text for people, fields for programs, and what is returned of the message: all of it, or its
header where the sender wants no more (RET), it is large, or it could not travel within a report undamaged. Where an
address is not ASCII the parts are those of RFC 6533, and the report wants SMTPUTF8; else nothing but a returned message
goes beyond ASCII. Values of strangers (replies, addresses) can end no line and begin no field.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from enum import Enum

from fallback_mx.rules.returned import Returned, part, returned

MAX_DIAGNOSTIC = 800
MAX_ADDRESS_OCTETS = 900  # an address stands in one line
_ENHANCED = re.compile(r"[245]\d\d[ -]([245]\.\d{1,3}\.\d{1,3})\b")
# A reply as it stands in the record of a recipient, words of ours before it or not ("lifetime over: 451 later").
_REPLY = re.compile(r"(?:^|: )([245]\d\d(?: .*)?)$", re.DOTALL)
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")


class Why(Enum):
    """Why a recipient is given up: with the words for the sender, and the status where the next hop gave none."""

    REFUSED = ("was refused", "5.0.0")
    EXPIRED = ("could not be delivered in time", "4.4.7")
    RETURNED = ("is returned by the operator of this server", "5.0.0")

    def __init__(self, words: str, status: str) -> None:
        self.words = words
        self.status = status


def without_report(said: str, reason: str) -> str:
    """What was last heard of a recipient, for the record, and why the sender is not told."""
    return f"{said}{_NOT_TOLD}{reason})"


_NOT_TOLD = " (no report: "


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient who will not get the message. `orcpt` is as the sender put it, `said` what was last heard about it
    (the record's last reply), `remote` the host that said so; both may be empty."""

    forward_path: str
    why: Why
    said: str = ""
    remote: str = ""
    orcpt: str = ""

    @property
    def heard(self) -> str:
        """What was said, without words about an earlier report that was not sent."""
        return _line(self.said.partition(_NOT_TOLD)[0])[:MAX_DIAGNOSTIC]

    @property
    def reply(self) -> str:
        """The SMTP reply in what was said, "" where there is none."""
        found = _REPLY.search(self.heard)
        return found[1] if found else ""

    @property
    def status(self) -> str:
        """The enhanced status code (RFC 3463). What has expired has, whatever was last heard about it."""
        found = _ENHANCED.match(self.reply)
        if found is None or self.why is Why.EXPIRED or not self.reply.startswith("5"):
            return self.why.status
        return found[1] if found[1].startswith("5") else self.why.status


@dataclass(frozen=True, slots=True)
class Report:
    """`ret` and `envid` are those of the message (RFC 3461). `id` is the report's own; it makes its Message-ID."""

    id: str
    at: datetime
    hostname: str
    reverse_path: str
    arrived_at: datetime
    failures: tuple[Failure, ...]
    returned: Returned
    ret: str = ""
    envid: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether it goes by RFC 6533 and wants SMTPUTF8."""
        return not (self.reverse_path.isascii() and all(each.forward_path.isascii() for each in self.failures))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report as content for a queue. `body` is that of RFC 6152."""

    content: bytes
    body: str
    smtputf8: bool


def is_wanted(notify: str) -> bool:
    """Whether a sender who asked for this (NOTIFY of RFC 3461, "" for nothing) wants to hear of a failure."""
    return not notify or "FAILURE" in notify.split(",")


def render(report: Report) -> Rendered:
    """The whole report, lines ended by CRLF."""
    back = returned(report.returned, is_wanted_whole=report.ret != "HDRS", is_wide=report.is_wide)
    parts = [_for_people(report), _for_programs(report), back]
    boundary = _boundary(report.id, parts)
    is_ascii = all(part.isascii() for part in parts)
    lines = [*_header(report, boundary)]
    if not is_ascii:
        lines.append("Content-Transfer-Encoding: 8bit")
    head = "\r\n".join([*lines, "", ""]).encode()
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    content = head + body
    return Rendered(content, "7BIT" if content.isascii() else "8BITMIME", report.is_wide)


def _boundary(seed: str, parts: Sequence[bytes]) -> str:
    boundary, number = f"report-{seed}", 0
    while any(boundary.encode() in part for part in parts):
        number += 1
        boundary = f"report-{seed}-{number}"
    return boundary


def _header(report: Report, boundary: str) -> Iterator[str]:
    yield f"From: Mail Delivery System <MAILER-DAEMON@{report.hostname}>"
    yield f"To: <{_line(report.reverse_path)}>"
    yield "Subject: Undelivered mail"
    yield f"Date: {_date(report.at)}"
    yield f"Message-ID: <{report.id}@{report.hostname}>"
    yield "Auto-Submitted: auto-replied"  # RFC 3834, section 3.1.7
    yield "MIME-Version: 1.0"
    yield f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"'


# For people ---------------------------------------------------------------------------------------------------------


def _for_people(report: Report) -> bytes:
    paragraphs = [
        f"This is the mail server {report.hostname}, which keeps mail for others while their own server is away.",
        f"Your message of {_date(report.arrived_at)} did not reach everybody. It will not be tried again for:",
    ]
    lines = "\n\n".join(textwrap.fill(each, 76) for each in paragraphs).split("\n")
    for failure in report.failures:
        lines += ["", f"  {_line(failure.forward_path)}", *_wrapped(_reason(failure), "    ")]
    lines += ["", *_wrapped("The same for programs follows, and then your message, or its header alone.", "")]
    charset = "utf-8" if report.is_wide else "us-ascii"
    return part(f"text/plain; charset={charset}", _encoded("\r\n".join(lines), report) + b"\r\n")


def _reason(failure: Failure) -> str:
    said = failure.reply or failure.heard
    who = f"{_line(failure.remote)} said" if failure.remote else "last heard"
    return f"It {failure.why.words}" + (f"; {who}: {said}" if said else ".")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 76, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


# For programs -------------------------------------------------------------------------------------------------------


def _for_programs(report: Report) -> bytes:
    groups = [[*_of_message(report)], *([*_of_recipient(report, failure)] for failure in report.failures)]
    text = "\r\n".join("\r\n".join(_field(*field) for field in group) + "\r\n" for group in groups)
    kind = "message/global-delivery-status" if report.is_wide else "message/delivery-status"
    return part(kind, _encoded(text, report))


def _of_message(report: Report) -> Iterator[tuple[str, str]]:
    if report.envid:
        yield "Original-Envelope-Id", _from_xtext(report.envid)
    yield "Reporting-MTA", f"dns; {report.hostname}"
    yield "Arrival-Date", _date(report.arrived_at)


def _of_recipient(report: Report, failure: Failure) -> Iterator[tuple[str, str]]:
    original = _original(failure.orcpt, is_wide=report.is_wide) if failure.orcpt else ""
    if original and len(original.encode("utf-8", "replace")) <= MAX_ADDRESS_OCTETS:
        yield "Original-Recipient", original
    yield "Final-Recipient", _typed(failure.forward_path, is_wide=report.is_wide)
    yield "Action", "failed"
    yield "Status", failure.status
    if failure.remote:
        yield "Remote-MTA", f"dns; {_literal(failure.remote)}"
    if failure.reply:
        yield "Diagnostic-Code", f"smtp; {failure.reply}"


def _literal(host: str) -> str:
    """A host that is known by its address alone stands in brackets (RFC 3464, section 2.1.2)."""
    if ":" in host:
        return f"[IPv6:{host}]"
    return f"[{host}]" if re.fullmatch(r"[0-9.]+", host) else host


def _typed(address: str, *, is_wide: bool) -> str:
    if address.isascii():
        return f"rfc822; {address}"
    return f"utf-8; {address if is_wide else _narrow(address)}"


def _original(orcpt: str, *, is_wide: bool) -> str:
    kind, _, encoded = orcpt.partition(";")
    if kind.lower() != "utf-8":
        address = _from_xtext(encoded)
        return f"{kind}; {address}" if address.isascii() else _typed(address, is_wide=is_wide)
    return _typed(_ESCAPED.sub(_character, encoded), is_wide=is_wide) if is_wide else f"utf-8; {_narrow(encoded)}"


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]


def _narrow(address: str) -> str:
    """In ASCII, as RFC 6533 (section 3) has it for fields like these."""
    return "".join(one if one.isascii() else f"\\x{{{ord(one):X}}}" for one in address)


def _from_xtext(text: str) -> str:
    octets = _XTEXT.sub(lambda match: chr(int(match[1], 16)), text)
    try:
        return octets.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return octets


def _field(name: str, value: str) -> str:
    """Folded where there are blanks to fold at, and what was said anywhere."""
    is_text = name == "Diagnostic-Code"
    lines = textwrap.wrap(f"{name}: {_line(value)}", 76, break_long_words=is_text, break_on_hyphens=False)
    return "\r\n ".join(lines)


# Text -------------------------------------------------------------------------------------------------------------


def _date(moment: datetime) -> str:
    return format_datetime(moment.replace(microsecond=0))


def _line(text: str) -> str:
    """In one line, nothing in it that acts."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "?" for one in text)


def _encoded(text: str, report: Report) -> bytes:
    # Half a surrogate pair is nothing that could be sent.
    return text.encode("utf-8", "replace") if report.is_wide else text.encode("ascii", "backslashreplace")
