"""AUTH with a primary that wants to know who brings its mail (RFC 4954; RFC 4616, RFC 2195).

The password goes over TLS, or to this very machine, and nowhere else. It is read from its file for every connection, so
that a new one is used at once. One mechanism is tried, the next only where the server does not know the first after
all: a wrong password that is said three times locks accounts. Every failure is NoConnection: of ours in phase "ours",
of the server's in phase "auth".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.errors import SMTPAuthenticationError

from fallback_mx.rules.disposition import NoConnection, Reply
from fallback_mx.smtp.offered import Offered
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.steps import Step

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
# Not known, not for this user, too weak: the next mechanism may do (RFC 4954, section 6).
_TRY_ANOTHER = (500, 501, 502, 504, 534)
_CANCEL = b"*\r\n"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are there. The password is the first line of its file."""

    username: str
    password_file: Path

    def password(self) -> str:
        """Raises NoConnection."""
        try:
            first, *_ = self.password_file.read_text(encoding="utf-8").splitlines() or [""]
        except OSError as error:
            raise NoConnection("ours", f"password_file {self.password_file}: {str(error.strerror).lower()}") from None
        except UnicodeDecodeError:
            raise NoConnection("ours", f"password_file {self.password_file}: is not UTF-8 text") from None
        if not first:
            raise NoConnection("ours", f"password_file {self.password_file}: its first line is empty")
        return first


async def log_in(pipeline: Pipeline, offered: Offered, login: Login, *, is_private: bool) -> None:
    """Log in. `is_private`: nobody can listen, since there is TLS or the server is on this machine."""
    if not is_private:
        raise NoConnection("auth", "the connection is not encrypted, and the password is not sent in clear: set tls")
    usable = [each for each in MECHANISMS if each in offered.mechanisms]
    if not usable:
        theirs = ", ".join(sorted(offered.mechanisms)) or "none at all"
        raise NoConnection("auth", f"the server offers no way to log in that is known here (it offers {theirs})")
    password = login.password()
    for mechanism in usable:
        reply = await _by(mechanism, pipeline, login.username, password)
        if reply.code == 235:
            return
        if reply.code not in _TRY_ANOTHER:
            break
    raise NoConnection("auth", f"{login.username} was not let in: {reply}")


async def _by(mechanism: str, pipeline: Pipeline, username: str, password: str) -> Reply:
    if mechanism == "PLAIN":
        return await _say(pipeline, b"AUTH PLAIN " + auth_plain_encode(username, password) + b"\r\n")
    reply = await _say(pipeline, f"AUTH {mechanism}\r\n".encode())
    if mechanism == "LOGIN":
        for part in auth_login_encode(username, password):
            if reply.code != 334:
                break
            reply = await _say(pipeline, part + b"\r\n")
    elif reply.code == 334:
        try:
            answer = auth_crammd5_verify(username, password, reply.text)
        except SMTPAuthenticationError:
            return await _say(pipeline, _CANCEL)
        reply = await _say(pipeline, answer + b"\r\n")
    return reply


async def _say(pipeline: Pipeline, line: bytes) -> Reply:
    reply = await pipeline.converse(Step.AUTH, line)
    if pipeline.broken is not None or reply is None:
        raise NoConnection("auth", str(pipeline.farewell or pipeline.broken))
    return reply
