"""An operator at a shell: a configuration, a queue and the `fallback-mx` program, without a service running."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from fallback_mx.cli import program
from fallback_mx.cli.opening import migrations
from mxqueue import BytesContent, Envelope, Queue
from mxqueue.model import utc_now
from tests.fakes.tables import lay

CONFIG = """\
[server]
hostname = "mx2.example.com"
listen = ["127.0.0.1:0"]

[storage]
url = "{url}"

[http]
listen = ""

[[primary]]
name = "main"
domains = ["example.org"]
host = "192.0.2.25"

[[primary]]
name = "other"
domains = ["example.net"]
host = "192.0.2.26"
"""


class Operator:
    """Runs commands as the console script would, within this process."""

    def __init__(self, directory: Path, url: str | None = None) -> None:
        self.database = directory / "queue.db"
        self.config = directory / "fallback-mx.toml"
        self.url = url or f"sqlite:///{self.database}"
        self.config.write_text(CONFIG.format(url=self.url))
        self._clock_offset = timedelta(0)

    def open(self, *, ago: timedelta | None = None, **options: Any) -> Queue:
        """The queue as the service opens it, created where it is missing; as it would have been so long ago."""
        clock = self._now if ago is None else lambda: utc_now() - ago
        return Queue.open(
            self.url, node="mx2.example.com", exclusive=True, migrations=migrations(), clock=clock, **options
        )

    def _now(self) -> datetime:
        return utc_now() + self._clock_offset

    def create(self) -> Operator:
        if self.url == f"sqlite:///{self.database}":
            lay(self.database, migrations())
        self.open().close()
        return self

    def accept(
        self,
        *forward_paths: str,
        sender: str = "alice@example.com",
        route: str = "main",
        content: bytes = b"Subject: hello\r\n\r\nWorld\r\n",
        age: timedelta = timedelta(0),
        trace: bytes = b"Received: by mx2.example.com\r\n",
    ) -> str:
        """Put one message into the queue; its id."""
        self._clock_offset = -age
        envelope = Envelope(
            reverse_path=sender,
            forward_paths=forward_paths or ("bob@example.org",),
            route=route,
            client_address="192.0.2.1",
            helo="client.example.com",
            trace=trace,
        )
        queue = self.open()
        try:
            (queue_id,) = queue.accept([envelope], BytesContent(content)).result()
        finally:
            queue.close()
            self._clock_offset = timedelta(0)
        return queue_id

    def run(self, *words: str, input: str | None = None, env: dict[str, str | None] | None = None) -> Result:
        """One command, with the configuration in the environment."""
        variables: dict[str, str | None] = {"FALLBACK_MX_CONFIG": str(self.config)} | (env or {})
        return CliRunner(env=variables).invoke(program, list(words), input=input)

    def json(self, *words: str) -> list[dict[str, Any]]:
        """The JSON lines of a command that must succeed."""
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def ids(self, *words: str) -> list[str]:
        """The queue ids that `queue list` finds."""
        result = self.run("queue", "list", "--json", *words)
        return [json.loads(line)["id"] for line in result.stdout.splitlines()]

    def states(self, queue_id: str) -> Sequence[str]:
        (shown,) = self.json("queue", "show", queue_id)
        return [recipient["state"] for recipient in shown["recipients"]]
