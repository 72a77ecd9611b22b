"""What `fallback-mx status` makes of what a service answers, and of what it does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fallback_mx.cli.live import here
from fallback_mx.rules.draining import DrainStatus, Phase
from fallback_mx.status import drain_json
from tests.fakes.operator import Operator

SLOWED = DrainStatus(Phase.SLOWED, "421 busy", True, 2, 2, 5, 3, 10, 11, 4.0, "421 busy", 0.0)


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[int]:
    """Somebody who says this to every question; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(**changes: object) -> bytes:
    drain: dict[str, object] = drain_json(SLOWED, None) | changes
    return json.dumps({"primaries": [{"name": "main", "drain": drain}, {"name": "other", "drain": None}]}).encode()


def status(tmp_path: Path, listen: str) -> tuple[str, list[dict[str, Any] | None], str]:
    """The sentence, the drains, and the text of `status`."""
    operator = Operator(tmp_path).create()
    for _ in range(8):
        operator.accept()
    operator.config.write_text(operator.config.read_text().replace('listen = ""', f'listen = "{listen}"'))
    (shown,) = operator.json("status")
    return shown["sentence"], [one["drain"] for one in shown["primaries"]], operator.run("status").stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_running_service_is_asked_how_its_drains_go(tmp_path: Path, host: str) -> None:
    with answering(told()) as port:
        sentence, drains, text = status(tmp_path, f"{host}:{port}")
    assert "main gets 2 of 5 connections (421 busy) at 4 messages/s, 2 s left" in sentence
    assert drains[0] is not None
    assert (drains[0]["phase"], drains[0]["reason"], drains[0]["seconds_left"]) == ("slowed", "421 busy", 2)
    assert drains[1] is None
    assert text.splitlines()[-1].split("\t") == ["main", "slowed", "2", "2", "5", "4", "2 s", "421 busy"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"primaries": 3}',
        told(phase="sleeping"),
        told(connections="many"),
        told(reason=None),
        told(put_off_seconds=float("inf"), phase="put off"),
        told(messages_per_second=float("nan")),
        b'{"primaries": [{"name": "main", "drain": {"phase": "idle"}}]}',
    ],
)
def test_an_answer_that_is_not_understood_is_none(tmp_path: Path, body: bytes) -> None:
    with answering(body) as port:
        assert status(tmp_path, f"127.0.0.1:{port}")[1] == [None, None]


def test_a_service_that_is_not_well_says_nothing(tmp_path: Path) -> None:
    with answering(told(), status=503) as port:
        assert status(tmp_path, f"127.0.0.1:{port}")[1] == [None, None]


def test_who_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert status(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}")[1] == [None, None]


def test_what_an_answer_holds_cannot_hurt_a_terminal(tmp_path: Path) -> None:
    with answering(told(reason="421 \x1b[2J\nbob@example.org")) as port:
        _, _, text = status(tmp_path, f"127.0.0.1:{port}")
    assert "\x1b" not in text
    assert "bob" not in text


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("localhost", "localhost"),
        ("::1", "::1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("mx2.example.com", None),
    ],
)
def test_no_other_machine_is_ever_asked(host: str, asked: str | None) -> None:
    assert here(host) == asked
