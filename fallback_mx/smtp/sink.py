"""A small SMTP server that keeps what it is given: the primary of the demo and of the tests.

It takes any sender and any recipient, answers pipelined commands in one write, and keeps each message as it was before
dot-stuffing (RFC 5321, section 4.5.2). Every reply can be scripted, down to silence, a cut and octets that are no
reply at all. It is no mail server: what it keeps is in memory, and is gone with the process.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from fallback_mx.smtp.sink_script import Act, Answer, Script, SinkMessage
from fallback_mx.smtp.sink_session import SinkSession

__all__ = ["EXTENSIONS", "Act", "Answer", "Script", "Sink", "SinkMessage", "SinkSession"]

EXTENSIONS = ("SIZE 104857600", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "PIPELINING")


class Sink:
    """The server. `replies` is a script a step: banner, ehlo, starttls, mail, rcpt, data, chunk, final, rset, noop,
    quit.

    `most_connections` is the largest number that were open at once; `commands` has every command line as it came.
    With `keep` off messages are counted, and nothing is kept. `session` is what talks on each connection.
    """

    def __init__(
        self,
        *,
        replies: Mapping[str, Script] | None = None,
        extensions: tuple[str, ...] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        keep: bool = True,
        session: type[SinkSession] = SinkSession,
    ) -> None:
        self.replies: dict[str, Script] = dict(replies or {})
        self.extensions = extensions
        self.tls = tls
        self.keep = keep
        self._session = session
        self.messages: list[SinkMessage] = []
        self.message_count = 0
        self.commands: list[bytes] = []
        self.connection_count = 0
        self.most_connections = 0
        self.port = 0
        self._sessions: set[SinkSession] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one, which `port` then names. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._session(self), host, port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection; afterwards the port is free."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        gone = [session.gone for session in self._sessions]
        for session in list(self._sessions):
            session.cut()
        await server.wait_closed()
        await asyncio.gather(*gone)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._sessions)

    def joined(self, session: SinkSession) -> None:
        self._sessions.add(session)
        self.connection_count += 1
        self.most_connections = max(self.most_connections, len(self._sessions))

    def left(self, session: SinkSession) -> None:
        self._sessions.discard(session)
        if not session.gone.done():
            session.gone.set_result(None)

    def take(self, message: SinkMessage) -> None:
        self.message_count += 1
        if self.keep:
            self.messages.append(message)
