"""A primary through which mail is played, and that does what it is told, one thing for each command it gets.

It reads what a primary reads: lines, and content to CRLF.CRLF. What it has taken stays in `kept`; `is_sure` says that
it has told so.

A connection that was given up in order and opened anew is the same one to it: that, and RSET, which comes only where it
was not given up, are no matter of the script's, since they are a matter of time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.dial import DialSettings, Line
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.passage import Crowded, Passage, PassageSettings, Way
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.route import Destination
from fallback_mx.smtp.steps import Timeouts

TIMEOUTS = Timeouts(command=3.0, data=3.0, block=3.0, final=3.0, quit=1.0)
EXTENSIONS = frozenset({"8bitmime", "dsn", "pipelining", "size", "smtputf8"})
SLOW_SECONDS = 1.0


class Does(Enum):
    """What it does next, in the order of the numbers that stand for it in a script."""

    TAKE = 0
    TAKE_PLAINLY = auto()  # without an enhanced status code
    DEFER = auto()
    REFUSE = auto()
    FAREWELL = auto()
    GO = auto()
    KEEP_AND_GO = auto()
    BABBLE = auto()
    ODDLY = auto()
    SILENT = auto()
    SLOW = auto()  # takes it, and is slow to read what comes next
    CROWDED = auto()  # no way at all, no connection, or DEFER
    PLAIN = auto()  # a connection without extensions, or TAKE
    INTERRUPT = auto()  # takes it, and in the middle of the content refuses that and closes
    DISMISS = auto()  # the same with 421


TAKES = {Does.TAKE, Does.TAKE_PLAINLY, Does.ODDLY, Does.SLOW, Does.PLAIN, Does.INTERRUPT, Does.DISMISS}
_INTERRUPTS = {Does.INTERRUPT: b"550 5.7.1 Enough\r\n", Does.DISMISS: b"421 4.3.2 Enough\r\n"}


@dataclass(frozen=True, slots=True)
class Kept:
    reverse_path: bytes  # as MAIL had it
    recipients: tuple[bytes, ...]  # as each RCPT had it
    content: bytes
    is_sure: bool


class Primary(Passage):
    """The way to it, too."""

    def __init__(self, acts: Sequence[Does]) -> None:
        super().__init__(PassageSettings(DialSettings("mx2.test"), Destination()), look=lambda: None, dial=self._answer)
        self.kept: list[Kept] = []
        self.connections: list[_Connection] = []
        self._acts = deque(acts)

    def next_act(self) -> Does:
        return self._acts.popleft() if self._acts else Does.TAKE

    def enter(self, client_address: str) -> Way:
        # Later it is a matter of time whether a way is given up and entered anew.
        if not self.connections and self._acts and self._acts[0] is Does.CROWDED:
            self._acts.popleft()
            raise Crowded
        return super().enter(client_address)

    @property
    def _is_left_in_order(self) -> bool:
        return bool(self.connections) and self.connections[-1].has_quit

    async def _answer(self) -> Line:
        await asyncio.sleep(0)
        if self._is_left_in_order:
            extensions = self.connections[-1].extensions
        else:
            act = self.next_act()
            if act in {Does.GO, Does.BABBLE, Does.SILENT, Does.REFUSE, Does.CROWDED}:
                raise NoConnection("connect", "not there")
            extensions = frozenset() if act is Does.PLAIN else EXTENSIONS
        connection = _Connection(self, extensions)
        self.connections.append(connection)
        return Pipeline(connection, TIMEOUTS), Greeting("primary.test", extensions)


class _Connection(asyncio.Transport):
    """What the pipeline writes to."""

    def __init__(self, primary: Primary, extensions: frozenset[str]) -> None:
        super().__init__()
        self.extensions = extensions
        self.is_closed = False
        self.has_quit = False
        self._is_deaf = False
        self._interrupts = b""
        self._primary = primary
        self._loop = asyncio.get_running_loop()
        self._input = b""
        self._is_in_content = False
        self._is_slow = False
        self._mail = b""
        self._recipients: list[bytes] = []

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, Pipeline)
        self._pipeline = protocol

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._loop.call_soon(self._pipeline.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def write(self, data: Any) -> None:
        assert not self.is_closed, "written to a connection that is closed"
        self._input += data
        if self._is_slow:
            self._is_slow = False
            self._pipeline.pause_writing()
            self._loop.call_later(SLOW_SECONDS, self._read_again)
        while not (self.is_closed or self._is_deaf) and self._read():
            pass

    def _read_again(self) -> None:
        if not self.is_closed:
            self._pipeline.resume_writing()

    def _read(self) -> bool:
        if self._is_in_content and self._interrupts and self._input:
            self._is_deaf = True
            self._say(self._interrupts)
            self._loop.call_soon(self.close)
            return False
        if self._is_in_content:
            content, end, rest = (b"\r\n" + self._input).partition(b"\r\n.\r\n")
            if end:
                self._input = rest
                self._ended((content + b"\r\n").replace(b"\r\n.", b"\r\n")[2:])
            return bool(end)
        line, end, rest = self._input.partition(b"\r\n")
        if end:
            self._input = rest
            self._command(line)
        return bool(end)

    def _command(self, line: bytes) -> None:
        assert not any(octet < 32 or octet == 127 for octet in line), f"no command: {line!r}"
        assert len(line) < 2048, f"a command of {len(line)} octets"
        verb = line[:4]
        if verb == b"QUIT":
            self.has_quit = True
            self._say(b"221 2.0.0 Bye\r\n")
            return
        if verb == b"RSET":
            self._say(b"250 2.0.0 Ok\r\n")
            return
        act = self._primary.next_act()
        takes = act in TAKES
        if verb == b"MAIL" and takes:
            self._mail, self._recipients = line[5:], []
        elif verb == b"RCPT" and takes:
            self._recipients.append(line[5:])
        elif verb == b"DATA" and takes:
            assert self._recipients, "DATA without a recipient"
            self._is_in_content = True
            self._interrupts = _INTERRUPTS.get(act, b"")
        else:
            assert verb in {b"MAIL", b"RCPT", b"DATA"}, f"no command of ours: {line!r}"
        self._is_slow = act is Does.SLOW
        self._do(act, b"354" if verb == b"DATA" else b"250")

    def _ended(self, content: bytes) -> None:
        self._is_in_content = False
        act = self._primary.next_act()
        is_sure = act in TAKES
        if is_sure or act is Does.KEEP_AND_GO:
            self._primary.kept.append(Kept(self._mail, tuple(self._recipients), content, is_sure))
        self._do(act, b"250")

    def _do(self, act: Does, code: bytes) -> None:
        if act in {Does.GO, Does.KEEP_AND_GO}:
            self.close()
        elif act is not Does.SILENT:
            self._say(_SAYS.get(act, b"%s 2.0.0 Ok\r\n").replace(b"%s", code))

    def _say(self, octets: bytes) -> None:
        self._loop.call_soon(self._pipeline.data_received, octets)


_SAYS = {
    Does.TAKE_PLAINLY: b"%s Ok\r\n",
    Does.DEFER: b"450 4.2.0 Later\r\n",
    Does.CROWDED: b"450 4.2.0 Later\r\n",
    Does.REFUSE: b"550 No\r\n",
    Does.FAREWELL: b"421 4.3.2 Bye\r\n",
    Does.BABBLE: b"what?\r\n",
    Does.ODDLY: b"%s-2.1.0 \x1b[31m\xc3\xa4\xff\r\n%s-5.1.1 " + b"y" * 900 + b"\r\n%s \r\n",
}
