"""Postfix's load generator and sink as fixtures: `smtp_source()` sends, `SmtpSink` takes everything it is given.

`smtp-source` ends at once when a connection is refused or a reply is not the expected one, so a run that failed
looks like a fast one unless its exit status is read: `smtp_source()` raises `LoadFailed` for anything but 0.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.ports import free_port
from tests.fakes.postfix import search_path


class LoadFailed(Exception):
    """The load generator did not send everything that it was told to send."""


@dataclass(frozen=True)
class Transaction:
    """One message as smtp-sink wrote it down: its line ends are LF there."""

    forward_paths: tuple[str, ...]
    content: bytes


def missing() -> str | None:
    """What keeps these tools from running here, or None."""
    for tool in ("smtp-source", "smtp-sink"):
        if shutil.which(tool, path=search_path()) is None:
            return f"{tool} is not installed (Debian package: postfix)"
    return None


def smtp_source(
    port: int,
    *,
    messages: int,
    sessions: int,
    size: int,
    recipient: str,
    sender: str = "a@sender.test",
    reuse: bool = True,
    numbered: bool = False,
    timeout: float = 600,
) -> float:
    """Sends and returns the seconds it took. `numbered` puts a number of its own before each recipient, from 1 up."""
    flags = [*(["-d"] if reuse else []), *(["-N"] if numbered else [])]
    amounts = ["-s", str(sessions), "-m", str(messages), "-l", str(size)]
    command = ["smtp-source", *flags, *amounts, "-f", sender, "-t", recipient, f"127.0.0.1:{port}"]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": search_path()},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise LoadFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return seconds


class SmtpSink:
    """An `smtp-sink` on a port of its own. It answers from `start()` to `stop()` and counts what it was given.

    With `dump` it also writes every transaction down, so that `transactions()` can say who got what how often.
    """

    def __init__(self, *, dump: bool = False, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._directory = Path(tempfile.mkdtemp(prefix="smtp-sink-"))
        self._directory.chmod(0o777)  # as root it gives its rights up for those of nobody
        self._dump = self._directory / "dump" if dump else None
        self._counter = self._directory / "counter"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Returns once the port is bound; the connection that finds out counts as one session without mail."""
        command = ["smtp-sink", "-c"]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        if self._dump is not None:
            command += ["-D", str(self._dump)]
        command += [f"127.0.0.1:{self.port}", "500"]
        with self._counter.open("wb") as counter:
            self._process = subprocess.Popen(
                command, env={**os.environ, "PATH": search_path()}, stdout=counter, stderr=subprocess.STDOUT
            )
        self._await_port()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def count(self) -> int:
        """Messages that got its final 250, since the last start."""
        with self._counter.open("rb") as counter:
            counter.seek(max(0, self._counter.stat().st_size - 400))
            counts = re.findall(rb"mesg=(\d+)", counter.read())
        return int(counts[-1]) if counts else 0

    def transactions(self) -> list[Transaction]:
        """Everything that was answered with 250, in that order, from the dump."""
        assert self._dump is not None, "this sink writes nothing down"
        if not self._dump.exists():
            return []
        records = re.split(rb"(?m)^X-Client-Addr: ", self._dump.read_bytes())[1:]
        return [_transaction(record) for record in records]

    def _await_port(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                    return
            except OSError as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = self._counter.read_text(errors="replace")[-500:]
                    raise RuntimeError(f"smtp-sink does not answer on {self.port}: {said}") from error
            time.sleep(0.005)


def _transaction(record: bytes) -> Transaction:
    added, _, rest = record.partition(b"\n\tby smtp-sink ")
    paths = re.findall(rb"(?mi)^X-Rcpt-Args: (?:TO:)?<([^>]*)>", added)
    # What smtp-sink adds ends with a Received field of three lines; the rest is the client's, and an empty line.
    content = rest.split(b"\n\t", 1)[1].partition(b"\n")[2]
    return Transaction(tuple(path.decode() for path in paths), content.removesuffix(b"\n"))
