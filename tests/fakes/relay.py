"""The real service as a subprocess, with a configuration, a database and a log of its own in a temporary directory.

`Relay` starts what an operator would start, `fallback-mx serve --config FILE`, waits for `/readyz`, and stops only the
process that it started. The program runs whole, from its first function to its end; only its modules are imported
beforehand, for all relays of a test process, unless it is wanted `from_scratch`, by an interpreter of its own.

Its database has its tables already, as at every start but the first; on a disk that a test brings along it begins with
none. When something fails while it runs, the end of its log is in the error.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select

from fallback_mx.cli.opening import migrations
from mxqueue import LedgerRow, past, views
from mxqueue.engine import make_engine
from mxqueue.schema import ledger
from tests.fakes.nursery import Child, Nursery
from tests.fakes.ports import free_port
from tests.fakes.tables import lay

DOMAIN = "example.test"
MAIN = "fallback_mx.cli:main"
# What `serve` and most commands import.
MODULES = ("fallback_mx.cli", "fallback_mx.cli.serve", "fallback_mx.service", "fallback_mx.cli.queue")


def primary(port: int, **settings: object) -> dict[str, object]:
    """One [[primary]] table: a server on this port of 127.0.0.1 that is probed twice a second."""
    return {
        "name": "main",
        "domains": [DOMAIN],
        "host": "127.0.0.1",
        "port": port,
        "interval": "500ms",
        "rise": 2,
        "fall": 2,
        **settings,
    }


@cache
def nursery() -> Nursery:
    """The one that services, and commands, of this test process come from."""
    one = Nursery(*MODULES)
    atexit.register(one.close)
    return one


class Relay:
    """One service. It can be killed, stopped and started again on the same database and the same ports.

    `environment` is the service's alone, which is then begun from scratch: `cli` does not get it.
    """

    def __init__(
        self,
        *primaries: Mapping[str, object],
        server: Mapping[str, object] | None = None,
        storage: Mapping[str, object] | None = None,
        http: Mapping[str, object] | None = None,
        monitor: Mapping[str, object] | None = None,
        database_directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        from_scratch: bool = False,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="relay-"))
        self.port = free_port()
        self.http_port = free_port()
        self.config_file = self.directory / "fallback-mx.toml"
        self.log_file = self.directory / "log"
        self.url = f"sqlite:///{(database_directory or self.directory) / 'queue.db'}"
        self._own_environment = dict(environment or {})
        self._from_scratch = from_scratch or environment is not None
        tables: list[tuple[str, Mapping[str, object]]] = [
            ("[server]", {"hostname": "relay.example.net", "listen": [f"127.0.0.1:{self.port}"], **(server or {})}),
            ("[storage]", {"url": self.url, **(storage or {})}),
            ("[http]", {"listen": f"127.0.0.1:{self.http_port}", **(http or {})}),
            ("[monitor]", monitor or {}),
            *(("[[primary]]", table) for table in primaries),
        ]
        self.config_file.write_text("\n".join(_table(header, values) for header, values in tables))
        self._process: subprocess.Popen[bytes] | Child | None = None
        if storage is None and database_directory is None:
            lay(self.directory / "queue.db", migrations())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                error.add_note(f"the relay's log ends:\n{self.log_tail()}")
                self.kill()
            elif self.running:
                self.stop()
        finally:
            self._remove()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the relay is not running"
        return self._process.pid

    def start(self, timeout: float = 30) -> None:
        """Returns once `/readyz` says 200."""
        self._process = self._begun() if self._from_scratch else self.bear()
        self.wait_for(self._is_ready, "/readyz says 200", timeout, interval=0.05)

    def bear(self) -> Child:
        """The service in a process that is the caller's to end, and that is not waited for."""
        words = ("serve", "--config", str(self.config_file))
        return nursery().start(
            MAIN, *words, output=self.log_file, environment=self._environment(), directory=self.directory
        )

    def stop(self, timeout: float = 30) -> None:
        """SIGTERM, as an orchestrator does it: the service must end by itself, in time, with status 0."""
        assert self._process is not None, "the relay is not running"
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired as late:
            self.kill()
            raise AssertionError(f"no exit {timeout} s after SIGTERM; log ends:\n{self.log_tail()}") from late
        self._process = None
        assert status == 0, f"exit status {status} after SIGTERM, expected 0; log ends:\n{self.log_tail()}"

    def kill(self) -> None:
        """SIGKILL: no time for anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def status(self) -> dict[str, Any]:
        """`/status.json` as it stands now."""
        document: dict[str, Any] = json.loads(self._get("/status.json"))
        return document

    def http(self, path: str) -> tuple[int, str]:
        """What a GET is answered: status and body."""
        try:
            return 200, self._get(path)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def queue_count(self) -> int:
        """Messages still ours to look after. Read from the database: what HTTP says may be a second old."""
        engine = make_engine(self.url, writes=False)
        try:
            with engine.connect() as connection:
                return sum(row.messages for row in views.count(connection))
        finally:
            engine.dispose()

    def ledger(self) -> list[LedgerRow]:
        """All that is on record of all messages, in the order in which it happened to each."""
        engine = make_engine(self.url, writes=False)
        try:
            with engine.connect() as connection:
                ids = connection.scalars(select(ledger.c.message_id).distinct().order_by(ledger.c.message_id)).all()
                return [row for each in ids for row in past.ledger_rows(connection, each)]
        finally:
            engine.dispose()

    def outages(self) -> list[dict[str, Any]]:
        """The outages of `fallback-mx outage list --json`."""
        return [row for row in self.cli_json_lines("outage", "list") if row["kind"] == "outage"]

    def cli(self, *arguments: str, expect: int = 0) -> str:
        """Runs `fallback-mx ARGUMENTS` on this relay's configuration and returns its output."""
        with tempfile.TemporaryDirectory() as directory:
            output, errors = Path(directory) / "output", Path(directory) / "errors"
            child = nursery().start(MAIN, *arguments, output=output, errors=errors, environment=self._environment())
            try:
                status = child.wait(60)
            finally:
                child.kill()
            said = f"`fallback-mx {' '.join(arguments)}` ended with {status}: {errors.read_text().strip()}"
            assert status == expect, f"{said}; expected {expect}"
            return output.read_text()

    def cli_json_lines(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.cli(*arguments, "--json").splitlines()]

    def rss(self) -> int:
        """The most memory that was ever resident, in bytes, of the service and the processes it started."""
        return sum(_high_water_mark(pid) for pid in family(self.pid))

    def primary_state(self, name: str = "main") -> str:
        """What the monitor makes of a primary: "up", "falling", "down", "rising" or "unknown"."""
        (state,) = (row["state"] for row in self.status()["primaries"] if row["name"] == name)
        return str(state)

    def wait_for(self, fact: Callable[[], bool], what: str, timeout: float = 30, interval: float = 0.1) -> None:
        """Until the fact holds, however long that takes within `timeout`; dead services are noticed at once."""
        deadline = time.monotonic() + timeout
        while not fact():
            if not self.running:
                raise AssertionError(f"the relay ended before {what}; log ends:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s: {what}; log ends:\n{self.log_tail()}")
            time.sleep(interval)

    def log_tail(self, lines: int = 30) -> str:
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def _begun(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "fallback_mx", "serve", "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**self._environment(), **self._own_environment},
            )

    def _environment(self) -> dict[str, str]:
        """Ours but for what would stand in for the file's settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FALLBACK_MX_")}
        return {**inherited, "FALLBACK_MX_CONFIG": str(self.config_file)}

    def _is_ready(self) -> bool:
        try:
            self._get("/readyz")
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return False
        except OSError:
            return False
        return True

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as response:
            return str(response.read().decode())

    def _remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def _table(header: str, values: Mapping[str, object]) -> str:
    # A JSON string, number, boolean or list of those is the same thing in TOML.
    return "\n".join([header, *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


def _high_water_mark(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None, f"process {pid} has no VmHWM"
    return int(found[1]) * 1024
