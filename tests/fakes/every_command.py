"""An operator who runs every command that has --json, on a queue and a record in which there is something to tell."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from fallback_mx.outages.gaps import Cause, gap
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Watch
from fallback_mx.sla.intervals import Interval
from mxqueue import Outcome, RecipientState, Settlement
from mxqueue.model import utc_now
from tests.fakes.clinic import Clinic
from tests.fakes.history import on_record, span, watch
from tests.fakes.operator import Operator
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import DOMAIN, Relay, primary

HOUR = timedelta(hours=1)
OCTOBER = ("--month", "2026-10")
CUSTOMER = """
[[customer]]
name = "Example"
account = "4711"
contacts = ["carol@example.org"]
country = "CZ"
time_zone = "Europe/Prague"

[[product]]
name = "mail"
price = "4.00"
"""
USERS = "user,product,created,deleted,storage_gb\n" + "".join(f"m{each},mail,2026-01-01,,1.7\n" for each in range(3))

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
        return self._of(name, self.operator, *words, code=code, input=input)

    def _of(
        self, name: str, operator: Operator, *words: str, code: int = 0, input: str | None = None
    ) -> list[dict[str, Any]]:
        result = operator.run(*name.split(), *words, "--json", input=input)
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
        self.of_maintenance()
        self.of_the_rest()
        self.of_newcomers()
        self.of_a_service()
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
        (made,) = self.run("outage annotate", *about, "--category", "dns", "--reason", "their zone")
        self.run("outage annotate", "--withdraw", made["id"], "--reason", "it was not")
        self.run("outage annotations")
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

    def of_maintenance(self) -> None:
        begins = (utc_now() - HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = ("--start", begins, "--for", "3h", "--reason", "new disks")
        (made,) = self.run("maintenance add", "main", *about)
        weekly = ("--start", "2099-03-26T22:00", "--time-zone", "Europe/Prague", "--for", "1h")
        self.run("maintenance add", "--all", *weekly, "--rule", "FREQ=WEEKLY;BYDAY=TH")
        self.run("status")
        self.run("primary list")
        self.run("maintenance list")
        calendar = self.directory / "maintenance.ics"
        self.run("maintenance export")
        self.run("maintenance export", "--output", str(calendar))
        self.run("maintenance import", str(calendar), "--primary", "other")
        self.run("maintenance cancel", str(made["id"]), "--reason", "not now")
        self.run("maintenance list", "--past")

    def of_the_rest(self) -> None:
        self.run("config check")
        self.run("config show")
        self.run("config check", "--config", "/nowhere.toml", code=2)
        self.run("invoice", *OCTOBER, "--data", "-", input=USERS)
        self.run("invoice", *OCTOBER, "--data", "-", "--credit-percent", "5", input=USERS)
        self.run("db check")
        self.run("db migrate")

    def of_newcomers(self) -> None:
        below = self.directory / "clinic"
        below.mkdir()
        with Clinic(below) as clinic:
            clinic.write_config()
            self._of("doctor", clinic.operator, *clinic.words)
            where = ("--resolver", f"127.0.0.1:{clinic.resolver_port}", "--host-port", str(clinic.primary_port))
            files = ("--units", str(below / "units"), "--config", str(below / "new" / "fallback-mx.toml"))
            who = ("--domain", "example.org", "--hostname", "mx2.example.com", "--host", "127.0.0.1")
            self._of("init", clinic.operator, "--yes", *where, *files, *who, "--storage", f"sqlite:///{below}/new.db")

    def of_a_service(self) -> None:
        """What wants a running service, whose own words about its drains come with it."""
        with FakePrimary() as fake, Relay(primary(fake.port, when_up="accept")) as relay:
            on_record = partial(relay.cli_json_lines, "primary", "list")
            relay.wait_for(lambda: on_record()[0]["state"] == "up", "it is on record that the primary is up")
            proof = str(self.directory / "proof.md")
            words = {
                "test-mail": (DOMAIN,),
                "drill": ("main", "--yes", "--proof", proof, "--for", "6s", "--wait", "30s"),
                "status": (),
            }
            for name, rest in words.items():
                lines = relay.cli(*name.split(), *rest, "--json").splitlines()
                self.told.setdefault(name, []).extend(map(json.loads, lines))
