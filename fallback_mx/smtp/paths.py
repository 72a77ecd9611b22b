"""MAIL and RCPT arguments, read strictly (RFC 5321, sections 4.1.1.2, 4.1.1.3 and 4.1.2).

What is not in the grammar is refused. So is what is in it but might be followed somewhere else by the primary:
local parts with `%`, `!`, `@` or a leading `/`, `|` or `.`, quoted or not, and address literals as a recipient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LOCAL_PART = 64
MAX_DOMAIN = 255
MAX_PATH = 256

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
_LITERAL = r"\[[0-9A-Fa-f.:IPv]+\]"
_ROUTE = rf"@{_DOMAIN}(?:,@{_DOMAIN})*:"
_PATH = re.compile(
    rf"<(?:{_ROUTE})?(?P<local>{_DOT_STRING}|{_QUOTED})(?:@(?P<domain>{_DOMAIN}|{_LITERAL}))?>(?P<rest>.*)\Z"
)
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:=[\x21-\x3c\x3e-\x7e]+)?\Z")
_FOLLOWED = re.compile(r"[%!@]|^[/|.]")


@dataclass(frozen=True, slots=True)
class Path:
    """A mailbox. `domain` is lower case without a trailing dot, empty for `<postmaster>` alone."""

    local: str
    domain: str

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def could_be_followed(self) -> bool:
        """Whether a server behind us might take the local part for a route, a program or a file."""
        local = self.local
        if local.startswith('"'):
            local = re.sub(r"\\(.)", r"\1", local[1:-1])
        return _FOLLOWED.search(local) is not None


@dataclass(frozen=True, slots=True)
class PathArgument:
    """What followed MAIL FROM: or RCPT TO:. `path` is None for the null reverse-path `<>`."""

    path: Path | None
    parameters: dict[str, str]


class BadPath(ValueError):
    """The argument is not in the grammar. The text is for the sender."""


def parse(argument: str, keyword: str) -> PathArgument:
    """Parse `FROM:<path> parameters` or `TO:<path> parameters`; `keyword` is "FROM" or "TO". Raises BadPath."""
    head, colon, text = argument.partition(":")
    if not colon or head.upper() != keyword:
        raise BadPath(f"Syntax: {keyword}:<address>")
    # A space behind the colon is not in the grammar; senders that write it harm nobody.
    text = text.lstrip(" ")
    if text.startswith("<>"):
        if keyword == "TO":
            raise BadPath("A recipient is wanted")
        return PathArgument(None, _parameters(text[2:]))
    match = _PATH.match(text)
    if match is None:
        raise BadPath("Bad address syntax")
    local, domain = match["local"], (match["domain"] or "").lower().removesuffix(".")
    if len(local) > MAX_LOCAL_PART or len(domain) > MAX_DOMAIN or len(local) + len(domain) + 3 > MAX_PATH:
        raise BadPath("Address too long")
    if not domain and not (keyword == "TO" and local.lower() == "postmaster"):
        raise BadPath("An address with a domain is wanted")
    return PathArgument(Path(local, domain), _parameters(match["rest"]))


def _parameters(text: str) -> dict[str, str]:
    if not text:
        return {}
    if not text.startswith(" "):
        raise BadPath("Bad address syntax")
    parameters: dict[str, str] = {}
    for word in text.split():
        if not _PARAMETER.match(word):
            raise BadPath("Bad parameter syntax")
        name, _, value = word.partition("=")
        if name.upper() in parameters:
            raise BadPath(f"{name.upper()} is given twice")
        parameters[name.upper()] = value
    return parameters
