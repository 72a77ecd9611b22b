"""What a client may believe that has sent these octets and was told these replies.

Written line by line, from RFC 5321 and not from the code that it watches. It pairs each reply with its command, says
which replies a command may have, and reads the content of messages by itself: what the queue was given must be what
the client believes it has sent. Where it finds otherwise it raises Disbelief.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from dataclasses import dataclass, field

from tests.fuzz.reading import header_lines, header_octets, path_in
from tests.fuzz.script import Op, Setting
from tests.fuzz.stage import HOSTNAME, settings_of
from tests.fuzz.told import Reply

COMMAND_LIMIT = 2048  # octets of a command line without its LF

# What each command may be told, besides 421.
MAY_BE_TOLD = {
    "EHLO": "250 501",
    "HELO": "250 501",
    "MAIL": "250 452 501 503 550 552 555",
    "RCPT": "250 450 451 452 501 503 550 553 555",
    "DATA": "354 501 503 554",
    "BDAT": "502",
    "RSET": "250 501",
    "NOOP": "250",
    "VRFY": "252 501",
    "EXPN": "502",
    "HELP": "214 504",
    "QUIT": "221 501",
    "ETRN": "250 251 253 458 459 501 503",
    "STARTTLS": "220 501 502 503",
    "XCLIENT": "220 501 503 550",
}
ASIDES = {"RSET", "NOOP", "VRFY", "HELP", "QUIT"}
# The final dot.
END_MAY_BE_TOLD = "250 451 452 552 554"
NO_SUCH_COMMAND = "500"
# What the primary may say that a transaction is played through to, and we where it cannot.
OF_THE_PRIMARY = "450 451 550"
# Told to any command with an argument that is not to be read.
UNREADABLE = "501"

_ATOM = r"[A-Za-z0-9]{1,60}"
_PLAIN_PATH = rf"{_ATOM}@{_ATOM}\.test"
_PLAIN_COMMAND = re.compile(rb"[\x20-\x7e]{0,500}")


class Disbelief(AssertionError):
    """What was told or committed is not what the client may believe."""


@dataclass(slots=True)
class Message:
    """One that the client has sent to its end. `reply` is None where it has not been told what became of it."""

    reverse_path: str
    recipients: list[str]
    content: bytes
    protocol: str
    reply: Reply | None = None


@dataclass(slots=True)
class _Envelope:
    reverse_path: str
    recipients: list[str] = field(default_factory=list)


class _Over(Exception):
    """The client hears nothing more."""


class Client:
    """Goes through what was sent and told. `messages` are those that were sent to their end."""

    def __init__(self, settings: Setting, replies: list[Reply]) -> None:
        self.messages: list[Message] = []
        self._settings = settings
        self._rules = settings_of(settings)
        self._postmaster = self._rules.postmaster_domain
        self._replies = deque(replies)
        self._greeted = ""
        self._is_tls = False
        self._is_final = False
        self._envelope: _Envelope | None = None
        # Then a reply may be the primary's, and not be of the client's making.
        self._may_be_played = Setting.UP in settings

    def follow(self, stream: tuple[bytes | Op, ...]) -> None:
        """All of it. Raises Disbelief."""
        with contextlib.suppress(_Over):
            self._session(deque(stream))
        left = [reply.code for reply in self._replies]
        # At any time the service may say that it ends the session.
        if left and (self._is_final or left != [421]):
            raise Disbelief(f"replies to nothing: {list(self._replies)}")

    # Replies ----------------------------------------------------------------------------------------------------

    def _hear(self, what: str, codes: str) -> Reply:
        """The reply to this, which has one of these codes."""
        if not self._replies:
            raise _Over
        reply = self._replies.popleft()
        if reply.code == 421:
            self._nothing_more()
        if str(reply.code) not in codes.split():
            raise Disbelief(f"{what} was told {reply}")
        return reply

    def _expect(self, reply: Reply, code: int, why: str) -> None:
        if reply.code != code:
            raise Disbelief(f"told {reply} and not {code}: {why}")

    def _nothing_more(self) -> None:
        """That was the last reply."""
        self._is_final = True
        raise _Over

    # The session ------------------------------------------------------------------------------------------------

    def _session(self, stream: deque[bytes | Op]) -> None:
        if Setting.PROXY in self._settings:
            self._preface(stream)
        delayed = Setting.DELAYED in self._settings
        if self._hear("the connection", "220 554" if delayed else "220").code == 554:
            self._nothing_more()
        rest = b""
        while stream:
            event = stream.popleft()
            if isinstance(event, bytes):
                rest = self._read(rest + event, stream)

    def _preface(self, stream: deque[bytes | Op]) -> None:
        """Take the PROXY header away, if there is one that can be told by its look."""
        sent = b"".join(event for event in stream if isinstance(event, bytes))
        stream.clear()
        if sent.startswith(b"PROXY ") and 0 <= sent.find(b"\r\n") <= 105:
            stream.append(sent[sent.find(b"\r\n") + 2 :])
        elif sent.startswith(b"\r\n\r\n\0\r\nQUIT\n") and len(sent) >= 16:
            stream.append(sent[16 + int.from_bytes(sent[14:16], "big") :])
        elif self._replies:
            raise Disbelief("a proxy that said nothing of its client was answered")
        else:
            raise _Over

    def _read(self, octets: bytes, stream: deque[bytes | Op]) -> bytes:
        """Every whole line of this; what is left of it."""
        while b"\n" in octets:
            line, _, octets = octets.partition(b"\n")
            word = self._command(line + b"\n")
            if word == "DATA":
                octets = self._content(octets, stream)
            elif word == "STARTTLS":
                octets = self._handshake(stream)
        if len(octets) > COMMAND_LIMIT:
            self._hear("an endless line", "500")
            self._nothing_more()
        return octets

    def _handshake(self, stream: deque[bytes | Op]) -> bytes:
        """What comes before it is lost (RFC 3207, section 4.2)."""
        while stream:
            event = stream.popleft()
            if event is Op.SHAKEN:
                self._greeted, self._envelope, self._is_tls = "", None, True
                return b""
            if event is Op.REFUSED:
                break
        raise _Over

    def _command(self, line: bytes) -> str:
        """Hear what is told to this line; "DATA" or "STARTTLS" where that makes what comes next something else."""
        if len(line) > COMMAND_LIMIT + 1:
            self._hear("a long line", "500")
            self._nothing_more()
        text = line[:-2]
        if not line.endswith(b"\r\n") or b"\r" in text or b"\0" in text:
            self._hear("a line that does not end with CRLF", "500")
            self._nothing_more()
        verb, _, argument = text.decode("latin-1").partition(" ")
        verb = verb.upper()
        if verb not in MAY_BE_TOLD:
            self._hear(verb, NO_SUCH_COMMAND)
            return ""
        codes = MAY_BE_TOLD[verb]
        if self._may_be_played and verb in {"MAIL", "RCPT", "DATA"}:
            codes = f"{codes} {OF_THE_PRIMARY}"
        may_be_told = codes if verb == "BDAT" else f"{codes} {UNREADABLE}"
        reply = self._hear(verb, may_be_told)
        is_plain = _PLAIN_COMMAND.fullmatch(text) is not None
        is_bare = not argument.strip(" ")
        if is_plain and verb in ASIDES and (verb == "NOOP" or is_bare is not (verb == "VRFY")):
            self._expect(reply, int(MAY_BE_TOLD[verb][:3]), "there was nothing wrong with it")
        return self._obeyed(verb, argument.strip(" "), reply, is_plain=is_plain)

    def _obeyed(self, verb: str, argument: str, reply: Reply, *, is_plain: bool) -> str:
        if verb in {"EHLO", "HELO"}:
            self._hello(verb, argument, reply)
        elif verb == "MAIL":
            self._mail(argument, reply)
        elif verb == "RCPT":
            self._rcpt(argument, reply)
        elif verb == "RSET" and reply.code == 250:
            self._envelope = None
        elif verb == "XCLIENT" and reply.code == 220:
            if Setting.XCLIENT not in self._settings or self._envelope is not None:
                raise Disbelief("XCLIENT was taken")
            self._greeted = "XCLIENT"
        elif verb == "BDAT" or (verb == "QUIT" and reply.code == 221):
            self._nothing_more()
        elif verb == "STARTTLS" and reply.code == 220:
            if Setting.TLS not in self._settings or self._is_tls:
                raise Disbelief("STARTTLS was taken")
            return verb
        elif verb == "DATA":
            return self._data(argument, reply, is_plain=is_plain)
        return ""

    def _hello(self, verb: str, argument: str, reply: Reply) -> None:
        if re.fullmatch(r"[A-Za-z0-9.-]{1,200}", argument):
            self._expect(reply, 250, "the name is one")
        if reply.code == 250:
            if HOSTNAME not in reply.lines[0]:
                raise Disbelief("we are not named")
            self._greeted, self._envelope = verb, None

    def _mail(self, argument: str, reply: Reply) -> None:
        in_order = self._greeted and self._envelope is None
        if reply.code == 250:
            if not in_order:
                raise Disbelief("MAIL was taken out of order")
            self._envelope = _Envelope(path_in(argument, self._postmaster))
        elif self._may_be_played and Setting.ALONE in self._settings:
            return
        elif in_order and self._greeted != "XCLIENT" and re.fullmatch(rf"(?i)FROM:<(|{_PLAIN_PATH})>", argument):
            raise Disbelief(f"MAIL was in order and told {reply}")

    def _rcpt(self, argument: str, reply: Reply) -> None:
        envelope = self._envelope
        path = path_in(argument, self._postmaster)
        if reply.code == 250:
            if envelope is None:
                raise Disbelief("RCPT was taken out of order")
            if path not in envelope.recipients:
                envelope.recipients.append(path)
        elif envelope is not None and self._is_ours(argument, path):
            domain = path.rpartition("@")[2]
            is_guarded = self._may_be_played and domain != "open.test"
            self._expect(reply, 451 if is_guarded else 452, "RCPT was in order")
            is_apart = any(path.endswith("@played.test") for path in envelope.recipients)
            if not is_guarded and len(envelope.recipients) < self._rules.max_recipients and not is_apart:
                raise Disbelief("there were not too many recipients")

    def _is_ours(self, argument: str, path: str) -> bool:
        """Whether this recipient is taken for the queue wherever there is room for one more."""
        domain = path.rpartition("@")[2]
        is_plain = re.fullmatch(rf"(?i)TO:<{_ATOM}@[a-z]+\.test>", argument) is not None
        is_sure = domain != "asked.test" and not (self._may_be_played and domain == "played.test")
        return is_plain and is_sure and domain in self._rules.routes

    def _data(self, argument: str, reply: Reply, *, is_plain: bool) -> str:
        may = self._envelope is not None and bool(self._envelope.recipients)
        if reply.code == 354:
            if not may:
                raise Disbelief("DATA was taken out of order")
            return "DATA"
        if self._may_be_played and str(reply.code) in OF_THE_PRIMARY:
            # The primary wants none of it, and the transaction is over.
            self._envelope = None
        elif may and is_plain and not argument:
            raise Disbelief(f"DATA was in order and told {reply}")
        return ""

    # Content ----------------------------------------------------------------------------------------------------

    def _content(self, octets: bytes, stream: deque[bytes | Op]) -> bytes:
        """Read one message; what is behind its end."""
        # A handshake that nobody waits for is nothing.
        octets += b"".join(event for event in _until_handshake(stream) if isinstance(event, bytes))
        lines: list[bytes] = []
        while b"\n" in octets:
            line, _, octets = octets.partition(b"\n")
            line += b"\n"
            if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
                self._hear("content that nobody should read", "554")
                self._nothing_more()
            if line == b".\r\n":
                self._ended(b"".join(lines))
                return octets
            lines.append(line[1:] if line.startswith(b".") else line)
        if b"\r" in octets or b"\0" in octets:
            self._hear("content that nobody should read", "554")
            self._nothing_more()
        raise _Over

    def _ended(self, content: bytes) -> None:
        envelope, self._envelope = self._envelope, None
        assert envelope is not None
        protocol = {"HELO": "SMTP", "EHLO": "ESMTP"}.get(self._greeted, "")
        message = Message(envelope.reverse_path, envelope.recipients, content, protocol)
        self.messages.append(message)
        codes = f"{END_MAY_BE_TOLD} {OF_THE_PRIMARY}" if self._may_be_played else END_MAY_BE_TOLD
        message.reply = self._hear("the final dot", codes)
        if message.reply.code in {552, 554} and not self._is_unfit(content):
            raise Disbelief(f"there is nothing wrong with the content, and it was told {message.reply}")
        if message.reply.code == 250 and self._is_unfit(content):
            raise Disbelief("content that is beyond a limit was taken")

    def _is_unfit(self, content: bytes) -> bool:
        rules = self._rules
        lines = content.split(b"\r\n")
        return (
            len(content) > rules.max_message_size
            or any(len(line) > rules.max_line_length for line in lines)
            or header_octets(content) > rules.max_header_size
            or sum(1 for line in header_lines(content) if re.match(rb"(?i)received[ \t]*:", line)) > 50
        )


def _until_handshake(stream: deque[bytes | Op]) -> list[bytes | Op]:
    taken = list(stream)
    stream.clear()
    return taken
