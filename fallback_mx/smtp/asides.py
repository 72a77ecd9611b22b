"""The commands beside the mail: RSET, VRFY, EXPN, HELP, NOOP, QUIT (RFC 5321, sections 4.1.1.5 to 4.1.1.10), and BDAT.

They are obeyed at any time, before EHLO too (section 4.1.4). None of them tells a client which addresses there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fallback_mx.smtp.session import Session

SYNTAX = {
    "EHLO": "EHLO hostname",
    "HELO": "HELO hostname",
    "MAIL": "MAIL FROM:<reverse-path> [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=FULL|HDRS] [ENVID=xtext]",
    "RCPT": "RCPT TO:<forward-path> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;xtext]",
    "DATA": "DATA, then the message, its lines ending with CRLF, and a line with nothing but a dot",
    "RSET": "RSET",
    "VRFY": "VRFY address (it is never said whether there is such an address)",
    "HELP": "HELP [command]",
    "NOOP": "NOOP [anything]",
    "QUIT": "QUIT",
    "STARTTLS": "STARTTLS",
    "ETRN": "ETRN domain, or ETRN @domain with its subdomains; for the mail servers that this one stands in for",
}
HELP = (
    "This is a backup mail exchanger: it takes mail for a few domains while their own mail server is away",
    f"Commands: {' '.join(SYNTAX)}",
    "HELP and a command gives its syntax, RFC 5321 the rest",
    "Is something wrong? Write to postmaster at the domain that you send to",
)


def on_rset(session: Session, argument: str) -> None:
    if argument:
        return session.fault("501 5.5.4 Syntax: RSET")
    session.reset()
    return session.say("250 2.0.0 Ok")


def on_noop(session: Session, argument: str) -> None:
    session.say("250 2.0.0 Ok")


def on_vrfy(session: Session, argument: str) -> None:
    if not argument:
        return session.fault("501 5.5.4 Syntax: VRFY address")
    return session.say("252 2.1.5 Send some mail and see")


def on_expn(session: Session, argument: str) -> None:
    session.fault("502 5.5.1 EXPN is not offered: there are no mailing lists here")


def on_help(session: Session, argument: str) -> None:
    if not argument:
        *above, last = HELP
        for line in above:
            session.say(f"214-2.0.0 {line}")
        session.say(f"214 2.0.0 {last}")
    elif argument.upper() in SYNTAX:
        session.say(f"214 2.0.0 Syntax: {SYNTAX[argument.upper()]}")
    else:
        session.fault("504 5.5.4 There is no help on that")


def on_quit(session: Session, argument: str) -> None:
    if argument:
        return session.fault("501 5.5.4 Syntax: QUIT")
    session.say_raw(b"221 2.0.0 Bye\r\n")
    return session.leave()


def on_bdat(session: Session, argument: str) -> None:
    # Its payload follows at once and must never be read as commands (RFC 3030).
    session.say("502 5.5.1 CHUNKING is not offered")
    session.leave(mid_stream=True)
