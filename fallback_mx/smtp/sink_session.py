"""One connection to a sink: the commands it knows, and how each is answered, by itself or by its script."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, cast

from fallback_mx.smtp.sink_script import Act, Answer, Chunk, Shelf, SinkMessage


class SinkSession(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: Shelf) -> None:
        self.sink = sink
        self.reverse_path: str | None = None
        self.forward_paths: list[str] = []
        self.mail_parameters: tuple[str, ...] = ()
        self.is_encrypted = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._buffer = bytearray()
        self._scanned = 0
        self._in_data = False
        self._chunk: Chunk | None = None
        self._chunks = b""
        self._has_failed_chunk = False
        self._in_handshake = False
        self._deaf = False
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.sink.joined(self)
        self._answer("banner", "", "220 sink.test ESMTP")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.sink.left(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._buffer += data
        if not self._in_handshake:
            self._go_on()

    def _go_on(self) -> None:
        """Answer whatever is complete."""
        while not self._deaf and not self._in_handshake:
            if not self._next():
                break
        self._flush()

    def _next(self) -> bool:
        """Take whatever is next; False where it is not there yet."""
        if self._chunk is not None:
            return self._end_of_chunk(self._chunk)
        return self._end_of_content() if self._in_data else self._next_command()

    @property
    def pending(self) -> bytes:
        """What the client has sent beyond what it is being answered to."""
        return bytes(self._buffer)

    def say(self, said: str | bytes) -> None:
        """Send this now, asked or not."""
        self._say(said)
        self._flush()

    def stop_reading(self) -> None:
        """Take nothing more off the wire."""
        if self._transport is not None:
            self._transport.pause_reading()

    def cut(self) -> None:
        self._deaf = True
        if self._transport is not None:
            self._transport.abort()

    # Commands ---------------------------------------------------------------------------------------------------

    def _next_command(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self.sink.keep:
            self.sink.commands.append(line)
        verb, _, argument = line.decode("utf-8", "replace").partition(" ")
        command = getattr(self, f"_on_{verb.lower()}", None) if verb.isalpha() else None
        if command is None:
            self._say("500 5.5.1 What?")
        else:
            command(argument)
        return True

    def _on_ehlo(self, argument: str) -> None:
        offered = list(self.sink.extensions)
        if self.sink.tls is not None and not self.is_encrypted:
            offered.append("STARTTLS")
        lines = ["sink.test", *offered]
        said = "\r\n".join(f"250-{line}" for line in lines[:-1]) + f"\r\n250 {lines[-1]}"
        self._answer("ehlo", argument, said.removeprefix("\r\n"))

    def _on_helo(self, argument: str) -> None:
        self._answer("helo", argument, "250 sink.test")

    def _on_starttls(self, argument: str) -> None:
        if self.sink.tls is None or self.is_encrypted:
            self._say("502 5.5.1 No TLS here")
            return
        if not self._answer("starttls", argument, "220 2.0.0 Go on"):
            return
        # RFC 3207, section 4.2: what came together with the command is thrown away, and what follows is TLS.
        self._buffer.clear()
        self.stop_reading()
        self._flush()
        self._in_handshake = True
        self._handshake = asyncio.get_running_loop().create_task(self._encrypt(self.sink.tls))

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        assert self._transport is not None
        encrypted: asyncio.Transport | None = None
        with contextlib.suppress(OSError):
            encrypted = await asyncio.get_running_loop().start_tls(self._transport, self, context, server_side=True)
        if encrypted is None:
            self.cut()
            self.sink.left(self)  # a connection that ends in its handshake is not reported to us
            return
        # The client's next words may have come with the end of the handshake: they were waiting for this transport.
        self._transport = encrypted
        self.is_encrypted = True
        self._in_handshake = False
        self._go_on()

    def _on_mail(self, argument: str) -> None:
        if self.reverse_path is not None:
            self._say("503 5.5.1 Nested MAIL")
            return
        path, parameters = _path_of(argument, "FROM:")
        if path is None:
            self._say("501 5.5.4 MAIL FROM:<path>")
        elif self._answer("mail", path, "250 2.1.0 Ok"):
            self.reverse_path, self.mail_parameters = path, parameters

    def _on_rcpt(self, argument: str) -> None:
        path, _ = _path_of(argument, "TO:")
        if self.reverse_path is None:
            self._say("503 5.5.1 MAIL first")
        elif path is None:
            self._say("501 5.5.4 RCPT TO:<path>")
        elif self._answer("rcpt", path, "250 2.1.5 Ok"):
            self.forward_paths.append(path)

    def _on_data(self, argument: str) -> None:
        said = self._scripted("data", argument)
        if said is None:
            said = "354 Go on" if self.forward_paths else "554 5.5.1 No valid recipients"
        self._perform(said)
        if isinstance(said, str | bytes) and said[:1] in {"3", b"3"}:
            self._begin_content()

    def _on_bdat(self, argument: str) -> None:
        size, _, last = argument.partition(" ")
        if "CHUNKING" not in self.sink.extensions or not size.isdigit():
            self._say("502 5.5.1 No chunks here")
        else:
            self._chunk = Chunk(int(size), last.upper() == "LAST")

    def _on_rset(self, argument: str) -> None:
        self._forget()
        self._answer("rset", argument, "250 2.0.0 Ok")

    def _on_noop(self, argument: str) -> None:
        self._answer("noop", argument, "250 2.0.0 Ok")

    def _on_quit(self, argument: str) -> None:
        self._answer("quit", argument, "221 2.0.0 Bye")
        self._flush()
        self._deaf = True
        if self._transport is not None:
            self._transport.close()

    # Content ----------------------------------------------------------------------------------------------------

    def _begin_content(self) -> None:
        self._in_data = True
        # The line end before the first line is that of the command; with it an empty content ends like any other.
        self._buffer[:0] = b"\r\n"
        self._scanned = 0

    def _end_of_content(self) -> bool:
        end = self._buffer.find(b"\r\n.\r\n", self._scanned)
        if end < 0:
            self._scanned = max(0, len(self._buffer) - 4)
            return False
        content = bytes(self._buffer[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        del self._buffer[: end + 5]
        self._in_data = False
        self._finish(content)
        return True

    def _end_of_chunk(self, chunk: Chunk) -> bool:
        """RFC 3030: the octets are read whatever becomes of them, and after a refusal nothing counts until RSET."""
        if len(self._buffer) < chunk.size:
            return False
        self._chunks += bytes(self._buffer[: chunk.size])
        del self._buffer[: chunk.size]
        self._chunk = None
        if self._has_failed_chunk or not self.forward_paths:
            self._say("503 5.5.1 No transaction for this chunk")
        elif chunk.is_last:
            content, self._chunks = self._chunks, b""
            self._finish(content)
        else:
            self._has_failed_chunk = not self._answer("chunk", str(chunk.size), f"250 2.0.0 {chunk.size} octets")
        return True

    def _finish(self, content: bytes) -> None:
        message = SinkMessage(self.reverse_path or "", tuple(self.forward_paths), content, self.mail_parameters)
        said = self._scripted("final", message.reverse_path)
        if said is None and message.forward_paths:
            said = f"250 2.0.0 Ok: kept as {self.sink.message_count + 1}"
        elif said is None:
            said = "554 5.5.1 No valid recipients"
        if said in {Act.KEEP_THEN_DROP, Act.KEEP_THEN_SILENT} or _is_success(said):
            self.sink.take(message)
        self._forget()
        self._perform(said)

    def _forget(self) -> None:
        self.reverse_path = None
        self.forward_paths = []
        self.mail_parameters = ()
        self._chunks, self._has_failed_chunk = b"", False

    # Answers ----------------------------------------------------------------------------------------------------

    def _scripted(self, step: str, argument: str) -> Answer:
        script = self.sink.replies.get(step)
        return script(self, argument) if callable(script) else script

    def _answer(self, step: str, argument: str, default: str) -> bool:
        """Answer a command by script or by default. Whether it was accepted."""
        said = self._scripted(step, argument)
        if said is None:
            said = default
        self._perform(said)
        return _is_success(said)

    def _perform(self, said: Any) -> None:
        if isinstance(said, Act):
            self._flush()
            self._deaf = True
            if said in {Act.DROP, Act.KEEP_THEN_DROP}:
                self.cut()
        else:
            self._say(said)

    def _say(self, said: str | bytes) -> None:
        self._out.append(said if isinstance(said, bytes) else said.encode() + b"\r\n")
        if self._out[-1].startswith(b"421"):
            self._flush()
            self._deaf = True
            if self._transport is not None:
                self._transport.close()

    def _flush(self) -> None:
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()


def _is_success(said: Answer) -> bool:
    text = said.decode("latin-1") if isinstance(said, bytes) else said
    return isinstance(text, str) and text[:1] in {"2", "3"}


def _path_of(argument: str, keyword: str) -> tuple[str | None, tuple[str, ...]]:
    if argument[: len(keyword)].upper() != keyword:
        return None, ()
    path, _, rest = argument[len(keyword) :].strip().removeprefix("<").partition(">")
    return path, tuple(rest.split())
