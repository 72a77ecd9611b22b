"""Paths and headers as the reference reader reads them: simply, and not with the code that it watches."""

from __future__ import annotations

import re


def path_in(argument: str, postmaster: str) -> str:
    """What stands between the brackets, as the next hop would have it: no source route, the domain in small letters."""
    text = argument.partition(":")[2].lstrip(" ")
    if text.startswith("<>"):
        return ""
    text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    quoted = re.match(r'<(?:@[^:"]*:)?("(?:[^"\\]|\\.)*")@([^>]*)>', text)
    plain = re.match(r'<(?:@[^:"]*:)?([^"@>]*)(?:@([^>]*))?>', text)
    match = quoted or plain
    if match is None:
        return text
    local, domain = match[1], (match[2] or "").lower().removesuffix(".")
    if not domain:
        domain = postmaster
    if not domain.isascii():
        domain = "?"
    return f"{local}@{domain}"


def header_lines(content: bytes) -> list[bytes]:
    """The lines of the header: up to an empty one, or one that is no field and continues none."""
    lines: list[bytes] = []
    for line in content.splitlines(keepends=True):
        is_field = re.match(rb"[!-9;-~]{1,128}[ \t]{0,40}:", line) is not None
        if not (is_field or (line[:1] in b" \t")):
            break
        lines.append(line)
    return lines


def header_octets(content: bytes) -> int:
    """How long the header is."""
    return sum(len(line) for line in header_lines(content))
