"""The commands with which a session begins, or begins anew: EHLO and HELO (RFC 5321, section 4.1.1.1), STARTTLS
(RFC 3207), and XCLIENT, for those who are trusted to speak for others.

What was said before is forgotten: a mail transaction with EHLO and HELO, everything with the others.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from fallback_mx.smtp import offer, xclient

if TYPE_CHECKING:
    from fallback_mx.smtp.session import Session


def on_helo(session: Session, argument: str) -> None:
    if _greet(session, argument, "HELO"):
        session.is_esmtp = False
        session.say(f"250 {session.listener.settings.hostname}")


def on_ehlo(session: Session, argument: str) -> None:
    if _greet(session, argument, "EHLO"):
        session.is_esmtp = True
        listener = session.listener
        reply = listener.ehlo_reply(session.is_tls)
        if listener.callers.primaries_of(session.client_address):
            reply = offer.with_line(reply, offer.ETRN)
        if _may_xclient(session):
            reply = offer.with_line(reply, offer.XCLIENT)
        session.say_raw(reply)


def _greet(session: Session, argument: str, verb: str) -> bool:
    if not argument or " " in argument:
        session.fault(f"501 5.5.4 Syntax: {verb} hostname")
        return False
    session.helo = argument
    session.reset()
    return True


def _may_xclient(session: Session) -> bool:
    # By what the connection comes from: what was said by XCLIENT gives no right to say more.
    return session.peer_address in session.listener.settings.xclient_from


def on_xclient(session: Session, argument: str) -> None:
    if not _may_xclient(session):
        return session.fault("550 5.7.0 XCLIENT is not for this client")
    if session.transaction is not None:
        return session.fault("503 5.5.1 A mail transaction is under way")
    try:
        told = xclient.parse(argument)
    except xclient.BadAttribute as error:
        return session.fault(f"501 5.5.4 {error}")
    # The session begins anew, but for what has just been told.
    session.helo = told.helo or ""
    session.is_esmtp = told.protocol == "ESMTP"
    if told.address is not None:
        session.client_address = told.address or session.peer_address
    return session.welcome()


def on_starttls(session: Session, argument: str) -> None:
    context = session.listener.settings.tls_context
    if argument:
        return session.fault("501 5.5.4 Syntax: STARTTLS")
    if context is None:
        return session.fault("502 5.5.1 STARTTLS is not offered")
    if session.is_tls:
        return session.fault("503 5.5.1 TLS is already in use")
    session.wait()
    # What was learned in the clear is forgotten (RFC 3207, section 4.2).
    session.helo = ""
    session.reset()
    session.handshake = session.loop.create_task(_start_tls(session, context))
    return None


async def _start_tls(session: Session, context: ssl.SSLContext) -> None:
    # Said only now: between this reply and the handshake nothing may be read as input.
    session.say("220 2.0.0 Ready to start TLS")
    try:
        await session.encrypt(context)
    except (OSError, TimeoutError):
        return
    session.leave_if_told()
    session.go_on()
