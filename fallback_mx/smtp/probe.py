"""One health check of a primary: connect, read the greeting, EHLO, QUIT (RFC 5321, sections 3.1, 3.2, 4.1.1.10).

Whatever the primary does is an observation, told in a few printable words, and costs bounded time and memory. Only two
things are raised: cancellation, and NotProbed where our own machine could not try, since that says nothing about the
primary.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fallback_mx.rules.disposition import Reply
from fallback_mx.rules.health import Observation
from fallback_mx.smtp.replies import Garbled, ReplyReader
from mxqueue.model import utc_now

READ_OCTETS = 4096
MAX_DETAIL = 200

# What the primary has no part in: descriptors, memory, ports, permissions of our own.
_OURS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EACCES,
        errno.EPERM,
    }
)
_UNKNOWN_COMMAND = (500, 502)


class Depth(StrEnum):
    """How far a probe goes: as far as a connection, the greeting, or the answer to EHLO."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"


@dataclass(frozen=True, slots=True)
class ProbeTimeouts:
    """Seconds. A minute for the greeting leaves room for servers that delay it to repel spammers."""

    connect: float = 10.0
    banner: float = 60.0
    reply: float = 30.0
    quit: float = 2.0


class NotProbed(Exception):
    """Our own machine could not try: out of descriptors, of memory, of ports."""


class _Failed(Exception):
    """The primary did not do what it should; the text says what it did instead."""


async def probe(
    host: str,
    port: int,
    *,
    depth: Depth = Depth.EHLO,
    timeouts: ProbeTimeouts | None = None,
    hello_name: str,
    clock: Callable[[], datetime] = utc_now,
) -> Observation:
    """Look once at the server at `host` (a name or an address) and `port`, as far as `depth`.

    `hello_name` is what we call ourselves in EHLO. Raises NotProbed.
    """
    check = _Check(timeouts or ProbeTimeouts())
    at, began = clock(), time.monotonic()

    def seen(good: bool, detail: str, size_limit: int | None = None) -> Observation:
        seconds = time.monotonic() - began
        return Observation(good, at, check.phase.value, detail[:MAX_DETAIL], seconds, size_limit)

    try:
        async with check.connected(host, port):
            if depth is Depth.CONNECT:
                return seen(True, "connected")
            reply = await check.greeting()
            if depth is Depth.EHLO:
                reply = await check.hello(hello_name)
            observation = seen(True, str(reply), _size_limit(reply))
            await check.quit()
            return observation
    except _Failed as failure:
        return seen(False, str(failure))


def _size_limit(reply: Reply) -> int | None:
    """The largest message that the server takes by its answer to EHLO; None where it names no fixed limit (RFC 1870,
    section 4)."""
    for line in reply.lines[1:]:
        keyword, _, value = line.partition(" ")
        if keyword.upper() == "SIZE" and value.isascii() and value.isdigit() and len(value) <= 20:
            return int(value) or None
    return None


class _Check:
    """A connection to the primary, and how far it came."""

    def __init__(self, timeouts: ProbeTimeouts) -> None:
        self.phase = Depth.CONNECT
        self._timeouts = timeouts
        self._replies = ReplyReader()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    @contextlib.asynccontextmanager
    async def connected(self, host: str, port: int) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeouts.connect):
                self._reader, self._writer = await _connect(host, port, self._timeouts.connect)
        except TimeoutError:
            raise _Failed(f"no connection within {self._timeouts.connect:g} s") from None
        try:
            yield
        finally:
            # Nothing is left to be sent, and a peer that never reads must not hold the descriptor.
            self._writer.transport.abort()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def greeting(self) -> Reply:
        self.phase = Depth.BANNER
        reply = await self._reply(self._timeouts.banner, "greeting")
        if not reply.is_success:
            raise _Failed(f"greeting {reply}")
        return reply

    async def hello(self, name: str) -> Reply:
        self.phase = Depth.EHLO
        for command in ("EHLO", "HELO"):
            self._send(f"{command} {name}")
            reply = await self._reply(self._timeouts.reply, f"answer to {command}")
            if reply.code not in _UNKNOWN_COMMAND:
                break
        if not reply.is_success:
            raise _Failed(f"{command} {reply}")
        return reply

    async def quit(self) -> None:
        """Take leave. Whatever comes of it, the observation stands."""
        with contextlib.suppress(_Failed):
            self._send("QUIT")
            await self._reply(self._timeouts.quit, "QUIT")

    def _send(self, command: str) -> None:
        self._writer.write(command.encode("ascii") + b"\r\n")

    async def _reply(self, seconds: float, name: str) -> Reply:
        try:
            async with asyncio.timeout(seconds):
                return await self._read(name)
        except TimeoutError:
            raise _Failed(f"no {name} within {seconds:g} s") from None
        except OSError as error:
            raise _Failed(f"no {name}: {_words(error)}") from None
        except Garbled as error:
            raise _Failed(f"no {name}: {error}") from None

    async def _read(self, name: str) -> Reply:
        while True:
            octets = await self._reader.read(READ_OCTETS)
            if not octets:
                raise _Failed(f"no {name}: connection closed")
            replies = list(self._replies.feed(octets))
            if len(replies) > 1:
                raise _Failed(f"more than one {name}: {replies[1]}")
            if replies:
                return replies[0]


async def _connect(host: str, port: int, seconds: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Try the host's addresses in turn, each with its share of what is left of the time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    addresses = await _addresses(host, port)
    theirs: list[str] = []
    ours: list[str] = []
    for index, address in enumerate(addresses):
        share = (until - loop.time()) / (len(addresses) - index)
        try:
            async with asyncio.timeout(share):
                return await asyncio.open_connection(address, port, limit=READ_OCTETS)
        except TimeoutError as error:
            theirs.append(_words(error) if error.errno else f"no connection within {seconds:g} s")
        except OSError as error:
            (ours if error.errno in _OURS else theirs).append(_words(error))
    if not theirs:
        raise NotProbed(f"cannot connect to {host}: {'; '.join(dict.fromkeys(ours))}")
    raise _Failed("; ".join(dict.fromkeys(theirs)))


async def _addresses(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise _Failed(f"{host}: {str(error.strerror).lower()}") from None
    except UnicodeError:
        raise _Failed(f"{host}: not a host name") from None
    except OSError as error:
        raise NotProbed(f"cannot look up {host}: {_words(error)}") from error
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
