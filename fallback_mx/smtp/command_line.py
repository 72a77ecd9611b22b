"""A command line, as octets, into its verb and its argument (RFC 5321, section 2.4; RFC 6531, section 3.1).

Only a command that may name an address can have an argument beyond ASCII, in UTF-8. What could act on whoever looks at
it later (control characters and the like) is in no argument.
"""

from __future__ import annotations

from fallback_mx.smtp.paths import has_controls

IN_UTF8 = frozenset({b"MAIL", b"RCPT", b"VRFY"})


def split(line: bytes) -> tuple[bytes, str | None]:
    """The verb in capitals, and the argument, None where it is none."""
    verb, _, octets = line.partition(b" ")
    verb = verb.upper()
    try:
        argument = octets.decode("utf-8" if verb in IN_UTF8 else "ascii").strip(" ")
    except UnicodeDecodeError:
        return verb, None
    return verb, None if has_controls(argument) else argument
