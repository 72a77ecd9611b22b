"""The paths of MAIL and RCPT, read strictly (RFC 5321, sections 4.1.1.2, 4.1.1.3 and 4.1.2; RFC 6531, section 3.3).

What is not in the grammar is refused. Source routes are read and dropped (RFC 5321, appendix C). A domain comes out in
the one form of fallback_mx.domains, whatever way it was written; a local part comes out as it was written, since its
meaning is the primary's alone. Of lengths only that of the whole path is bounded: section 4.5.3.1 wants no more limits
than must be, and rewritten return addresses are often longer than its 64 octets for a local part.

Nothing here raises anything but BadPath.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import NamedTuple

from fallback_mx.domains import normalised

MAX_PATH = 256
MAX_DOMAIN = 255
MAX_LABEL = 63

_LETTER = r"[A-Za-z0-9]"
_ATOM = r"[A-Za-z0-9_+=-]+"
# What nearly all mail has: nothing in it is quoted, routed, Unicode or long.
_COMMON_PATH = (
    rf"<((?!-){_ATOM}(?:\.{_ATOM})*)@({_LETTER}+(?:-+{_LETTER}+)*(?:\.{_LETTER}+(?:-+{_LETTER}+)*)*)>(?![^ ])(.*)"
)
_COMMON_FROM = re.compile(rf"(?i:FROM):{_COMMON_PATH}", re.DOTALL)
_COMMON_TO = re.compile(rf"(?i:TO):{_COMMON_PATH}", re.DOTALL)

# Classes that are beyond ASCII too are written as what they leave out: to compile them so takes a tenth of the time.
_ATEXT = r"[^\x00-\x20\"(),.:;<>@\[\\\]\x7f]"
_LET_DIG = r"[^\x00-/:-@\[-`{-\x7f]"
_LABEL = rf"{_LET_DIG}+(?:-+{_LET_DIG}+)*"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_DOT_STRING = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
_QUOTED = r'"(?:[^\x00-\x1f"\\\x7f]|\\[\x20-\x7e])*"'
_LITERAL = r"\[[0-9A-Za-z.:]+\]"
_PATH = re.compile(
    rf"<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?(?P<local>{_DOT_STRING}|{_QUOTED})(?:@(?P<domain>{_DOMAIN}|{_LITERAL}))?>"
)
# Routes; what Exim would expand; what begins as a file, a program, a list of addresses or an option does.
_FOLLOWED = re.compile(r"""[%!@]|\$\{|^[\s"]*(?:[/|.<-]|(?i::include:))""")
# What a conversion to a narrow character set may make of them.
_LOOKALIKES = str.maketrans("\u066a\u2044\u2215\u00a6\u01c0\u2223\u2502\u2758\u01c3", "%//|||||!")
# Letters by their category, that show nothing all the same.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
# Without them some scripts cannot be spelt (RFC 5892, appendix A); they move nothing on a screen.
_JOINERS = str.maketrans("", "", "\u200c\u200d")


class Path(NamedTuple):
    """A mailbox. `domain` is empty for `<postmaster>` alone; `is_wide` says that it was not written in ASCII.

    `could_be_followed`: a server behind us might take the local part for a route, a program or a file.
    """

    local: str
    domain: str
    is_wide: bool = False
    could_be_followed: bool = False

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_literal(self) -> bool:
        """Whether it names a host by its address (RFC 5321, section 4.1.3)."""
        return self.domain.startswith("[")


class BadPath(ValueError):
    """The argument is not in the grammar. The text is for the sender."""


def has_controls(text: str) -> bool:
    """Whether there is a character in it that is not to be seen but does something, or is none at all."""
    return not text.isprintable() and not text.translate(_JOINERS).isprintable()


def reverse_path(argument: str) -> tuple[Path | None, str]:
    """The path of `FROM:<path> parameters`, None where it is null, and the parameters unread. Raises BadPath."""
    match = _COMMON_FROM.match(argument)
    return _path(argument, "FROM") if match is None else _common(match)


def forward_path(argument: str) -> tuple[Path, str]:
    """The path of `TO:<path> parameters`, and the parameters unread. Raises BadPath."""
    match = _COMMON_TO.match(argument)
    if match is not None:
        return _common(match)
    path, rest = _path(argument, "TO")
    if path is None:
        raise BadPath("A recipient is wanted")
    return path, rest


def _common(match: re.Match[str]) -> tuple[Path, str]:
    local, domain, rest = match.groups()
    if len(local) + len(domain) > MAX_LABEL:
        _check_length(local, domain)
    return Path(local, domain.lower()), rest


def _path(argument: str, keyword: str) -> tuple[Path | None, str]:
    """The whole grammar."""
    head, colon, text = argument.partition(":")
    if not colon or head.upper() != keyword:
        raise BadPath(f"Syntax: {keyword}:<address>")
    # A space behind the colon is not in the grammar; senders that write it harm nobody.
    text = text.lstrip(" ")
    match = None if text.startswith("<>") else _PATH.match(text)
    end = match.end() if match is not None else 2
    if (match is None and not text.startswith("<>")) or text[end : end + 1] not in {"", " "}:
        raise BadPath("Bad address syntax")
    return None if match is None else _checked(match, keyword), text[end:]


def _checked(match: re.Match[str], keyword: str) -> Path:
    local, written = match["local"], match["domain"] or ""
    if has_controls(local):
        raise BadPath("Control characters in an address")
    _check_length(local, written)
    if not written and not (keyword == "TO" and local.lower() == "postmaster"):
        raise BadPath("An address with a domain is wanted")
    domain = _domain(written)
    if not written.isascii():
        # In A-labels, as the next hop is told it, a name is longer.
        _check_length(local, domain)
    return Path(local, domain, not match[0].isascii(), _could_be_followed(local))


def _could_be_followed(local: str) -> bool:
    if local.startswith('"'):
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return _FOLLOWED.search(local if local.isascii() else _narrow(local)) is not None


def _narrow(local: str) -> str:
    """As a server may take it that takes a wide solidus for a narrow one, and drops what does not show by itself."""
    local = unicodedata.normalize("NFKC", local).translate(_LOOKALIKES)
    return "".join(
        each for each in local if unicodedata.category(each) not in {"Cf", "Mn", "Me"} and each not in _FILLERS
    )


def _check_length(local: str, domain: str) -> None:
    octets = _octets(domain)
    if _octets(local) + octets + len("<@>") > MAX_PATH or octets > MAX_DOMAIN:
        raise BadPath("Address too long")
    if domain.isascii() and any(len(label) > MAX_LABEL for label in domain.split(".")):
        raise BadPath("Bad domain")


def _octets(text: str) -> int:
    # Half a surrogate pair is refused elsewhere; here it must only be counted.
    return len(text.encode("utf-8", "replace"))


def _domain(written: str) -> str:
    if written.startswith("["):
        return _literal(written[1:-1])
    if not written.isascii():
        try:
            return normalised(written)
        except ValueError:
            raise BadPath("Bad domain") from None
    return written.lower().removesuffix(".")


def _literal(text: str) -> str:
    """An address literal in its one form. No kind of them is registered but these two (RFC 5321, section 4.1.3)."""
    try:
        if text[:5].upper() == "IPV6:":
            return f"[IPv6:{ipaddress.IPv6Address(text[5:])}]"
        return f"[{ipaddress.IPv4Address(text)}]"
    except ValueError:
        raise BadPath("Bad address literal") from None
