"""Lists as text: one address a line, `#` comments, `@domain` for a domain that takes every address.

Postfix's maps (postmap(5)) are read as they are: what follows the address is its value and does not matter, and an
indented line behind a line with a value goes on with that value. A line that is no address is named with its number
and the reason, and the rest of the list stands. Addresses in other primaries' domains are passed over: one list may
serve several. Reading is a matter of one line at a time, whatever the size of the list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from fallback_mx.recipients.addresses import NoAddress, parse, parse_domain
from fallback_mx.recipients.records import WHOLE_DOMAIN

MAX_LINE_OCTETS = 4096
NAMED = 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The file's lines from its start, each cut off where it is too long to be one: a map's value may be any length."""
    file.seek(0)
    while line := file.readline(2 * MAX_LINE_OCTETS):
        yield line
        while not line.endswith(b"\n") and line:
            line = file.readline(2 * MAX_LINE_OCTETS)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no address, by its number from 1, and why it is none. `text` is cut short."""

    number: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.text!r}: {self.reason}"


@dataclass(slots=True)
class Reading:
    """What reading a list has met besides its addresses. The first few bad lines are named, all are counted."""

    bad: list[BadLine] = field(default_factory=list)
    bad_count: int = 0
    foreign_count: int = 0

    def add_bad(self, number: int, text: str, reason: str) -> None:
        self.bad_count += 1
        if len(self.bad) < NAMED:
            self.bad.append(BadLine(number, text[:80], reason))


Entry = tuple[str, str]
"""(domain, local part) as lists compare; the local part is empty for the whole domain."""


def entries(lines: Iterable[bytes], domains: Collection[str], reading: Reading) -> Iterator[Entry]:
    """The entries of a list that belong to these domains. What is none goes to `reading`."""
    continues = False
    for number, line in enumerate(lines, 1):
        is_indented = line[:1] in (b" ", b"\t")
        octets = (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
        if not octets or octets.startswith(b"#") or (is_indented and continues):
            continue
        word, _, value = octets.replace(b"\t", b" ").partition(b" ")
        value = value.strip()
        continues = bool(value) and not value.startswith(b"#")
        try:
            entry = _entry(word)
        except NoAddress as reason:
            reading.add_bad(number, octets[:200].decode("utf-8", "backslashreplace"), str(reason))
            continue
        if entry[0] in domains:
            yield entry
        else:
            reading.foreign_count += 1


def _entry(octets: bytes) -> Entry:
    if len(octets) > MAX_LINE_OCTETS:
        raise NoAddress("it is too long")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise NoAddress("it is not UTF-8 text") from None
    if text.startswith("@"):
        return parse_domain(text[1:]), WHOLE_DOMAIN
    address = parse(text)
    return address.domain, address.listed
