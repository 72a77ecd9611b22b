"""An operator who runs every command that has --json, on a queue and a record in which there is something to tell."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from fallback_mx.outages.gaps import Cause, gap
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Watch
from fallback_mx.sla.intervals import Interval
from mxqueue import Outcome, RecipientState, Settlement
from mxqueue.model import utc_now
from tests.fakes.history import on_record, span, watch
from tests.fakes.operator import Operator

HOUR = timedelta(hours=1)
OCTOBER = ("--month", "2026-10")
CUSTOMER = """
[[customer]]
name = "Example"
account = "4711"
contacts = ["carol@example.org"]
country = "CZ"
time_zone = "Europe/Prague"
"""

Told = dict[str, list[dict[str, Any]]]


class EveryCommand:
    """Runs commands and keeps, by the command's name, every line of JSON that it has printed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.operator = Operator(directory).create()
        text = self.operator.config.read_text()
        text = text.replace(
            'host = "192.0.2.25"\n', 'host = "127.0.0.1"\nport = 1\nregion = "cloud/EU"\ncustomer = "Example"\n'
        )
        self.operator.config.write_text(text + CUSTOMER)
        self.told: Told = {}

    def run(self, name: str, *words: str, code: int = 0, input: str | None = None) -> list[dict[str, Any]]:
        result = self.operator.run(*name.split(), *words, "--json", input=input)
        assert result.exit_code == code, (name, words, result.output)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.told.setdefault(name, []).extend(lines)
        return lines

    def all(self) -> Told:
        self.of_mail()
        self.of_files()
        self.of_primaries()
        self.of_recipients()
        self.of_outages()
        self.of_agreements()
        self.of_the_rest()
        return self.told

    def _attempt(self) -> None:
        queue = self.operator.open()
        (claim,) = queue.claim("main", "test", limit=1).result()
        later = Outcome(RecipientState.PENDING, "451 4.7.1 later", not_before=utc_now() + HOUR)
        queue.settle([Settlement(claim, {0: later, 1: Outcome(RecipientState.DELIVERED, "250 ok")})]).result()
        queue.close()

    def of_mail(self) -> None:
        first = self.operator.accept("bob@example.org", "carol@example.org", age=3 * HOUR)
        self._attempt()
        second = self.operator.accept(sender="")
        gone = self.operator.accept()
        self.run("queue list")
        self.run("queue show", first)
        self.run("queue cat", first)
        self.run("queue hold", second, "--reason", "look at it")
        self.run("queue hold", "--primary", "main", "--dry-run")
        self.run("queue count")
        self.run("queue shape")
        self.run("queue shape", "--senders", "--limit", "1")
        self.run("queue log", second)
        self.run("queue log", "--recipient", "bob@example.org")
        self.run("queue release", second)
        self.run("queue retry", first, "01K4QZ6YB3T9V5XW2N8M7RCD1E", code=5)
        self.run("queue remove", gone, "--yes")
        self.run("queue bounce", second, "--dry-run")
        self.run("queue bounce", second, "--yes", code=5)

    def of_files(self) -> None:
        exported = self.directory / "mail"
        self.run("queue export", str(exported), "--all", "--dry-run")
        self.run("queue export", str(exported), "--all")
        (exported / "nonsense").write_text("no mail\n")
        self.run("queue import", str(exported), code=1)
        self.run("queue import", str(exported), "--again", "--dry-run", code=5)
        self.run("queue import", str(exported), "--again", code=5)

    def of_primaries(self) -> None:
        self.run("primary pause", "main", "--for", "1h", "--reason", "disks")
        self.run("primary force", "other", "down")
        self.run("primary list")
        self.run("status")
        self.run("primary resume", "main")
        self.run("primary probe", "main", code=1)

    def of_recipients(self) -> None:
        addresses = self.directory / "addresses"
        addresses.write_text("bob@example.org\ncarol@example.org\nnot an address\n")
        self.run("recipients import", "--primary", "main", str(addresses), code=5)
        self.run("recipients list")
        self.run("recipients list", "--lists")
        self.run("recipients verify", "bob@example.org", code=5)
        self.run("recipients verify", "--no-ask", "nobody@example.org")
        self.run("recipients forget", "--primary", "main", "--source", "list")

    def of_outages(self) -> None:
        on_record(
            self.operator,
            span("S1", "2026-10-08 20:30 > 22:30"),
            watch("W1", "2026-09-20 > 2026-11-10"),
            watch("W2", "2026-09-20 > 2026-11-10", "other"),
        )
        now = utc_now()
        queue = self.operator.open()
        log = OutageLog(queue.writer.submit, queue.read, "mx2.example.com")
        hole = Interval(now - 3 * HOUR, now - 2 * HOUR)
        watches = [
            Watch("W8", "main", "mx2.example.com", now - 5 * HOUR, hole.start),
            Watch("W9", "main", "mx2.example.com", hole.end, now),
        ]
        log.write(
            [], watches, [gap("G1", "main", "mx2.example.com", hole, Cause.CUT_OFF, "no control answers")]
        ).result()
        queue.close()
        self.run("outage list")
        self.run("outage list", *OCTOBER)
        self.run("outage show", "S1")
        exported = self.run("outage export", *OCTOBER)
        self.run("outage export", *OCTOBER, "--coverage")
        lines = "".join(json.dumps(line) + "\n" for line in exported)
        (self.directory / "outages").write_text(lines)
        self.run("outage import", str(self.directory / "outages"))

    def of_agreements(self) -> None:
        about = ("--primary", "main", "--from", "2026-10-08T21:00Z", "--to", "2026-10-08T21:10Z")
        (made,) = self.run("sla annotate", *about, "--category", "dns", "--reason", "their zone")
        self.run("sla annotate", "--withdraw", made["id"], "--reason", "it was not")
        self.run("sla annotations")
        told = ("--contact", "carol@example.org", "--at", "2026-10-09T08:00Z")
        self.run("sla reported add", "--primary", "main", "--from", "2026-10-08T21:30Z", *told)
        self.run("sla reported list")
        (claim,) = self.run("sla claim add", "--account", "4711", *about, *told, "--in-arrears")
        self.run("sla claim list")
        self.run("sla claim decide", claim["id"], "--grant", "--reason", "kindness")
        self.run("sla report", *OCTOBER)
        self.run("sla explain", *OCTOBER, "--primary", "main")
        self.run("sla freeze", *OCTOBER, "--primary", "main")
        self.run("sla frozen", *OCTOBER)
        self.run("sla report", *OCTOBER)

    def of_the_rest(self) -> None:
        self.run("config check")
        self.run("config show")
        self.run("config check", "--config", "/nowhere.toml", code=2)
        self.run("db check")
        self.run("db migrate")
