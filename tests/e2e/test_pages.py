"""The status page of a real service: through an outage, to a customer with a token, and over a restart."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path

from tests.e2e.test_outage import content, is_in, send
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

FIRST, SECOND = "first-token-of-example", "second-token-of-example"


def page(relay: Relay, path: str = "/status") -> str:
    status, body = relay.http(path)
    assert status == 200, body
    return body


def says(relay: Relay, words: str, path: str = "/status") -> None:
    relay.wait_for(lambda: words in page(relay, path), f"{path} says {words}")


def test_an_outage_is_told_as_it_happens_and_names_nobody(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{FIRST} Example\n")
    with (
        FakePrimary() as fake,
        Relay(primary(fake.port, customer="Example"), http={"status_tokens_file": str(tokens)}) as relay,
    ):
        is_in(relay, "up")
        says(relay, "main is up; no message waits.")
        fake.go_away()
        is_in(relay, "down")
        send(relay, content(1), recipients=("u@example.test",))
        says(relay, "1 message is safe")
        says(relay, "main is down for", f"/status/{FIRST}")
        for path in ("/status", f"/status/{FIRST}", "/feed.atom", "/badge/main.svg", "/health"):
            found = page(relay, path)
            for secret in ("127.0.0.1", "sender.test", "example.test", str(fake.port)):
                assert secret not in found, (path, secret)
        assert json.loads(page(relay, "/health"))["checks"]["main:state"][0]["observedValue"] == "down"
        assert "it refused the connection" in page(relay)
        fake.answer()
        is_in(relay, "up")
        says(relay, "was down for")
        says(relay, "main was down for", "/feed.atom")


def test_a_token_that_is_taken_out_closes_its_page_at_the_next_reload(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{FIRST} Example\n")
    settings = {"status_tokens_file": str(tokens), "public_status": False}
    with FakePrimary() as fake, Relay(primary(fake.port, customer="Example"), http=settings) as relay:
        assert relay.http("/status")[0] == 403
        assert relay.http(f"/status/{FIRST}")[0] == 200
        tokens.write_text(f"{SECOND} Example\nshort Example\n")
        os.kill(relay.pid, signal.SIGHUP)
        relay.wait_for(lambda: relay.http(f"/status/{SECOND}")[0] == 200, "the second token opens the page")
        assert relay.http(f"/status/{FIRST}")[0] == 403
        assert "line 2: the token is too short" in relay.log_file.read_text()
        assert SECOND not in relay.log_file.read_text()


def test_maintenance_that_was_announced_is_told_within_seconds_and_its_author_is_not() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        page(relay)
        relay.cli("maintenance", "add", "main", "--start", "now", "--for", "2h", "--reason", "new \x1b[2J disks")
        says(relay, "main is under maintenance for 1 h 59 min more (new \\x1b[2J disks)")
        says(relay, "<dt>Maintenance</dt><dd>Now, until")
        says(relay, "Maintenance of main", "/feed.atom")
        assert os.environ.get("USER", "root") not in page(relay)


def test_mail_is_taken_while_a_crowd_hangs_at_the_page() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay, contextlib.ExitStack() as crowd:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        for _ in range(150):
            client = crowd.enter_context(socket.create_connection(("127.0.0.1", relay.http_port), timeout=30))
            client.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n")
        assert relay.http("/livez") == (200, "ok\n")
        (reply,) = send(relay, content(1))
        assert reply.startswith("250 ")


def test_without_its_file_of_tokens_the_service_starts_and_says_so(tmp_path: Path) -> None:
    settings = {"status_tokens_file": str(tmp_path / "none")}
    with FakePrimary() as fake, Relay(primary(fake.port, customer="Example"), http=settings) as relay:
        assert relay.http(f"/status/{FIRST}")[0] == 403
        assert relay.http("/status")[0] == 200
        assert "none cannot be read: No such file or directory" in relay.log_file.read_text()


def test_how_full_the_queue_was_is_known_after_a_restart() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        send(relay, *(content(number) for number in range(3)))
        # The next look at the queue is a minute away: a service that starts looks at once.
        relay.restart()
        says(relay, "At most 3 messages waited")
        fake.answer()
        is_in(relay, "up")
        relay.wait_for(lambda: relay.queue_count() == 0, "the queue is empty")
        relay.restart()
        assert "At most 3 messages waited" in page(relay)
