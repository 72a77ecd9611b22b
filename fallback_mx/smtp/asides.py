"""The commands beside the mail: RSET, NOOP, VRFY, HELP, QUIT (RFC 5321, sections 4.1.1.5 to 4.1.1.10), and BDAT.

None of them tells a client what addresses there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fallback_mx.smtp.session import Session


def on_rset(session: Session, argument: str) -> None:
    session.transaction = None
    session.say("250 2.0.0 Ok")


def on_noop(session: Session, argument: str) -> None:
    session.say("250 2.0.0 Ok")


def on_vrfy(session: Session, argument: str) -> None:
    session.say("252 2.1.5 Send some mail and see")


def on_help(session: Session, argument: str) -> None:
    session.say("214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP STARTTLS QUIT, see RFC 5321")


def on_quit(session: Session, argument: str) -> None:
    session.say("221 2.0.0 Bye")
    session.leave()


def on_bdat(session: Session, argument: str) -> None:
    # Its payload follows at once and must never be read as commands (RFC 3030).
    session.say("502 5.5.1 CHUNKING is not offered")
    session.leave(mid_stream=True)
