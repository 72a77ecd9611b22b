"""Makes text from strangers fit to be shown.

Senders, next hops and DNS choose much of what stands in logs, tables and pages. `visible` keeps it from acting: what
could move a cursor, ring a bell, reverse the direction of writing or forge a second log line is written as `\\x1b`,
`\\n`, `\\u202e`; printable text of any script stays as it is. `impersonal` keeps persons out of it. Neither can fail,
and both take time that is linear in the length of the text.
"""

from __future__ import annotations

import re

# A word is tried from its first character alone, a quoted string up to 255 characters: no text makes this slow.
_LOCAL_PART = re.compile(r"""(?:"(?:[^"\\]|\\.){0,255}+"|(?<![^\s<>@",;:])[^\s<>@",;:]++)@""")


def visible(text: str) -> str:
    """The text in one line, with every character that is not printable written as its escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def impersonal(text: str) -> str:
    """The text with the local part of every mail address left out (RFC 5321, section 4.1.2); domains stay."""
    return _LOCAL_PART.sub("…@", text) if "@" in text else text
