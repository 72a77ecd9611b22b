"""Makes text from strangers safe to look at: control characters become visible escapes.

Senders, next hops and DNS choose much of what stands in logs, tables and pages. What could move a cursor, ring a
bell, reverse the direction of writing or forge a second log line is written as `\\x1b`, `\\n`, `\\u202e`. Printable
text of any script stays as it is. Nothing here can fail.
"""

from __future__ import annotations


def visible(text: str) -> str:
    """The text in one line, with every character that is not printable written as its escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
