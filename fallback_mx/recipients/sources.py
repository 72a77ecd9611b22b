"""Where lists come from: a file, a command's output, a URL. Each is copied whole before a line of it is looked at.

Everything here blocks and runs on a thread of its own. It ends within the limits' time and size, or soon after
`is_stopping` says so, and raises SourceFailed for whatever the source does; what was read until then counts for
nothing.
"""

from __future__ import annotations

import base64
import os
import selectors
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Protocol

from fallback_mx.durations import format_size
from fallback_mx.visible import visible

BLOCK_OCTETS = 64 * 1024
# How often something that waits looks whether it is to stop.
LOOK_SECONDS = 0.5
# A peer may be silent this long: a service that stops waits for it.
SILENCE_SECONDS = 10.0
SAID_OCTETS = 500


class SourceFailed(Exception):
    """A list could not be had, or not be believed. `advice` tells the operator what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Limits:
    seconds: float = 120.0
    octets: int = 256 * 1024 * 1024


class Source(Protocol):
    """A list somewhere. `origin` names it in tables and in the log; it holds no password."""

    @property
    def origin(self) -> str: ...

    def copy(self, into: Copy) -> None:
        """Write the whole list. Raises SourceFailed."""


class Copy:
    """A list on its way to us, within its limits."""

    def __init__(self, spool: IO[bytes], limits: Limits, is_stopping: Callable[[], bool]) -> None:
        self._spool = spool
        self._limits = limits
        self._is_stopping = is_stopping
        self._until = time.monotonic() + limits.seconds
        self._octets = 0

    def write(self, octets: bytes) -> None:
        """Raises SourceFailed where it becomes too much, or takes too long."""
        self._octets += len(octets)
        if self._octets > self._limits.octets:
            raise SourceFailed(f"it is larger than {format_size(self._limits.octets)}", "Is it really a list?")
        self._spool.write(octets)
        self.look()

    def look(self) -> None:
        """Raises SourceFailed where there is no time left."""
        if self._is_stopping():
            raise SourceFailed("the service is stopping", "It is read again at the next start.")
        if time.monotonic() > self._until:
            raise SourceFailed(
                f"it took longer than {self._limits.seconds:g} s", "Let it answer faster, or list from a file."
            )

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._until - time.monotonic())


@dataclass(frozen=True, slots=True)
class FileSource:
    path: Path

    @property
    def origin(self) -> str:
        return str(self.path)

    def copy(self, into: Copy) -> None:
        try:
            # A pipe without a writer would keep us waiting in open().
            if not self.path.is_file():
                reason = "is not a file" if self.path.exists() else "there is no such file"
                raise SourceFailed(f"{self.path}: {reason}", "Write the path of a list to recipients_file.")
            with self.path.open("rb") as file:
                while block := file.read(BLOCK_OCTETS):
                    into.write(block)
        except OSError as error:
            raise SourceFailed(f"{self.path}: {error.strerror}", "Let the service's user read it.") from None


@dataclass(frozen=True, slots=True)
class CommandSource:
    """A program and its arguments. No shell reads them; what it prints on standard output is the list."""

    words: Sequence[str]

    @property
    def origin(self) -> str:
        return self.words[0]

    def copy(self, into: Copy) -> None:
        try:
            process = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SourceFailed(f"{self.origin}: {error.strerror}", "Write its full path, executable for us.") from None
        try:
            said = _drain(process, into)
            while process.poll() is None:
                into.look()
                time.sleep(0.01)
        finally:
            _end(process)
        if process.returncode != 0:
            how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
            detail = f"{self.origin} ended with {how}{': ' if said else ''}{said}"
            raise SourceFailed(detail, "Run it by hand, as the service's user.")


def _drain(process: subprocess.Popen[bytes], into: Copy) -> str:
    """Copy what it prints; the last that it said on standard error."""
    assert process.stdout is not None and process.stderr is not None
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            into.look()
            for key, _ in selector.select(min(LOOK_SECONDS, into.seconds_left)):
                octets = os.read(key.fd, BLOCK_OCTETS)
                if not octets:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    into.write(octets)
                else:
                    said = (said + octets)[-SAID_OCTETS:]
    return visible(" ".join(said.decode("utf-8", "replace").split()))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of it is left behind: what it started itself is in its session, and may have its output open."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: object) -> None:
        """A list and the password for it are not handed on to whomever a reply names."""


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A list over HTTP or HTTPS; user and password, where the URL has them, are sent as Basic (RFC 7617)."""

    url: str

    @property
    def origin(self) -> str:
        parts = urllib.parse.urlsplit(self.url)
        # A query may be as secret as a password.
        return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def copy(self, into: Copy) -> None:
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _NoRedirect(),
        ):
            opener.add_handler(handler)
        try:
            # `into` watches over the whole.
            with opener.open(self._request(), timeout=min(SILENCE_SECONDS, into.seconds_left)) as answer:
                while block := answer.read1(BLOCK_OCTETS):
                    into.write(block)
                missing = answer.length
        except urllib.error.HTTPError as error:
            where = f" to {error.headers['Location']}" if error.headers.get("Location") else ""
            error.close()
            raise SourceFailed(
                f"{self.origin}: HTTP status {error.code}{visible(where)}",
                "Write the list's own address; redirects are not followed." if where else "Ask whoever serves it.",
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise SourceFailed(f"{self.origin}: {reason}", "Ask whoever serves it.") from None
        if missing:
            raise SourceFailed(f"{self.origin}: {missing} octets of it did not come", "Ask whoever serves it.")

    def _request(self) -> urllib.request.Request:
        parts = urllib.parse.urlsplit(self.url)
        user, at, host = parts.netloc.rpartition("@")
        bare = urllib.parse.urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        request = urllib.request.Request(bare, headers={"User-Agent": "fallback-mx"})  # noqa: S310  # the handlers know HTTP alone
        if at:
            token = base64.b64encode(urllib.parse.unquote(user).encode()).decode("ascii")
            request.add_unredirected_header("Authorization", f"Basic {token}")
        return request
