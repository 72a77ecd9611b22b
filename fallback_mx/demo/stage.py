"""The demo's stage: a directory that goes away afterwards, and the real service as a process of its own in it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from fallback_mx.demo.mail import DOMAIN

PRIMARY = "primary"
START_SECONDS = 20.0
CONFIG = """\
[server]
hostname = "mx2.example.net"
listen = ["127.0.0.1:{smtp}"]

[storage]
url = "sqlite:///{directory}/queue.db"
min_free_space = "50MB"

[http]
listen = "127.0.0.1:{http}"

[[primary]]
name = "{name}"
domains = ["{domain}"]
host = "127.0.0.1"
port = {primary}
interval = "500ms"
rise = 2
fall = 2
"""


class StageError(Exception):
    """The service did not do what the demo needs it to do; the text has the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """The relay under its own process id. `status` asks it over HTTP, `command` runs the command line beside it."""

    def __init__(self, directory: Path, primary_port: int) -> None:
        self.smtp_port = free_port()
        self._http_port = free_port()
        self._config = directory / "fallback-mx.toml"
        self._log_path = directory / "service.log"
        self._config.write_text(
            CONFIG.format(
                directory=directory,
                smtp=self.smtp_port,
                http=self._http_port,
                primary=primary_port,
                name=PRIMARY,
                domain=DOMAIN,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it is ready to take mail. Raises StageError."""
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(self._words("serve"), stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with self._get("/readyz"):
                    return
            except (OSError, urllib.error.HTTPError):
                time.sleep(0.1)
        raise StageError(f"the service did not start:\n{self.log_tail()}")

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "fallback_mx", *words, "--config", str(self._config)]

    def _get(self, path: str) -> Any:
        # An address of our own making: no other scheme can get in.
        return urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}{path}", timeout=10)

    def status(self) -> dict[str, Any]:
        with self._get("/status.json") as response:
            document: dict[str, Any] = json.load(response)
        return document

    def primary(self) -> dict[str, Any]:
        """The primary's part of the status."""
        found: dict[str, Any] = self.status()["primaries"][0]
        return found

    def wait_for_state(self, state: str, seconds: float) -> None:
        """Until the primary is seen in this state. Raises StageError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.primary()["state"] == state:
                return
            time.sleep(0.1)
        raise StageError(f"the primary was not seen {state} within {seconds:.0f} s:\n{self.log_tail()}")

    def show(self, *words: str) -> None:
        """Run a command of the program beside the running service, and let it print. Raises StageError."""
        sys.stdout.flush()
        done = subprocess.run(self._words(*words), timeout=60, check=False)
        if done.returncode != 0:
            raise StageError(f"`fallback-mx {' '.join(words)}` ended with code {done.returncode}")

    def stop(self) -> int:
        """SIGTERM, as a manager would; the exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def log_tail(self, lines: int = 15) -> str:
        text = self._log_path.read_text(errors="replace") if self._log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
