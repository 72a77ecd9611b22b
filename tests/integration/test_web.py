"""/livez, /readyz, /metrics and /status.json over real sockets, and what a client cannot do to them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fallback_mx.web.app import Check, make_app
from fallback_mx.web.fresh import Fresh, Pace
from fallback_mx.web.metrics import Metrics
from fallback_mx.web.server import HttpListenError, HttpServer
from mxqueue import QueueUnavailable, RecipientState, RouteCount
from tests.fakes.face import NOW, Face, House

PENDING, HELD = RecipientState.PENDING, RecipientState.HELD


@pytest.fixture(scope="module")
def started() -> Iterator[Face]:
    with Face() as one:
        yield one


@pytest.fixture
def face(started: Face) -> Face:
    started.furnish(House())
    return started


def test_the_root_names_every_path_there_is_and_asks_the_service_nothing(face: Face) -> None:
    status, headers, body = face.request("/")
    assert (status, headers["Content-Type"], face.house.asked) == (200, "text/plain; charset=utf-8", 0)
    named = [line.split()[0] for line in body.decode().splitlines() if line.startswith("/")]
    assert sorted(named) == sorted([*PATHS, *PAGES])


def test_livez_answers_without_asking_the_service_anything(face: Face) -> None:
    face.house.checks = QueueUnavailable("gone")
    status, _, body = face.request("/livez")
    assert (status, body, face.house.asked) == (200, b"ok\n", 0)


def test_readyz_is_200_with_its_checks_while_all_hold(face: Face) -> None:
    assert face.json("/readyz") == (
        200,
        {
            "ready": True,
            "checks": [
                {"name": "database", "ok": True, "detail": ""},
                {"name": "listener", "ok": True, "detail": ""},
            ],
        },
    )


def test_readyz_is_503_and_says_which_check_does_not_hold(face: Face) -> None:
    face.house.checks = [Check("database", True), Check("space", False, "3 MB free")]
    status, body = face.json("/readyz")
    assert (status, body["ready"]) == (503, False)
    assert body["checks"][1] == {"name": "space", "ok": False, "detail": "3 MB free"}


def test_readyz_stays_200_while_every_primary_is_down(face: Face) -> None:
    face.house.states = {"main": "down"}
    assert face.request("/readyz")[0] == 200


def test_readyz_is_503_when_the_service_does_not_answer_in_time() -> None:
    with Face(pace=Pace(answer_seconds=0.05)) as face:
        face.house.hangs = True
        assert face.json("/readyz") == (
            503,
            {"ready": False, "checks": [{"name": "service", "ok": False, "detail": "no answer within 0.05 s"}]},
        )


@pytest.mark.parametrize("path", ["/readyz", "/status.json"])
def test_an_unforeseen_error_is_503_without_its_text_and_is_told_to_the_service(face: Face, path: str) -> None:
    face.house.checks = face.house.answer = ValueError("secret")
    status, _, body = face.request(path)
    assert (status, json.loads(body)) == (503, {"error": "not available now"})
    assert [(part, str(error)) for part, error in face.failures] == [(f"http {path}", "secret")]


def test_a_database_that_is_away_is_503_and_no_news(face: Face) -> None:
    face.house.answer = QueueUnavailable("postgresql://secret")
    assert face.json("/status.json") == (503, {"error": "not available now"})
    assert face.failures == []


def test_a_crowd_that_asks_at_once_costs_one_question(face: Face) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: face.request("/readyz")[0], range(40)))
    assert set(answers) == {200}
    # The crowd may come in over two of the seconds that an answer is good for, hardly over ten.
    assert face.house.asked < 10


def test_an_answer_is_asked_for_again_when_it_has_grown_old() -> None:
    with Face(pace=Pace(fresh_seconds=0.0)) as face:
        assert face.request("/readyz")[0] == 200
        face.house.checks = [Check("database", False)]
        assert face.request("/readyz")[0] == 503


def test_an_answer_that_took_long_is_good_for_longer_where_it_may_be() -> None:
    asked = []

    async def ask() -> int:
        asked.append(1)
        await asyncio.sleep(0.05)
        return len(asked)

    async def both(rest: float, longest_seconds: float = 60.0) -> tuple[int, int]:
        fresh = Fresh(ask, Pace(fresh_seconds=0.0, rest=rest, longest_seconds=longest_seconds))
        return await fresh.get(), await fresh.get()

    assert asyncio.run(both(1000.0)) == (1, 1)
    asked.clear()
    assert asyncio.run(both(0.0)) == (1, 2)
    asked.clear()
    assert asyncio.run(both(1000.0, longest_seconds=0.0)) == (1, 2)


def test_status_json_is_what_the_service_says_in_ascii(face: Face) -> None:
    face.house.answer = {"sentence": "main\x7f\x1b\u202e is up."}
    status, _, body = face.request("/status.json")
    assert (status, json.loads(body)) == (200, face.house.answer)
    assert all(32 <= octet < 127 for octet in body.rstrip(b"\n"))


def _samples(face: Face) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    status, headers, body = face.request("/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_metrics_have_what_was_counted(face: Face) -> None:
    face.metrics.accepted("main", 1, 1000)
    face.metrics.accepted("main", 1, 500)
    face.metrics.refused("relay")
    face.metrics.let_in("main", "grace")
    face.metrics.delivered("main", 3)
    face.metrics.deferred("main")
    face.metrics.session_opened()
    face.metrics.session_opened()
    face.metrics.session_closed()
    samples = _samples(face)
    main = (("primary", "main"),)
    assert samples["fallback_mx_accepted_messages_total", main] == 2
    assert samples["fallback_mx_accepted_octets_total", main] == 1500
    assert samples["fallback_mx_refused_total", (("reason", "relay"),)] == 1
    assert samples["fallback_mx_let_in_recipients_total", (("primary", "main"), ("reason", "grace"))] == 1
    assert samples["fallback_mx_delivered_recipients_total", main] == 3
    assert samples["fallback_mx_deferred_total", main] == 1
    assert samples["fallback_mx_connections_total", ()] == 2
    assert samples["fallback_mx_sessions", ()] == 1
    assert samples["fallback_mx_build_info", (("version", "9.9.9"),)] == 1


def test_metrics_have_the_queue_by_primary_and_state(face: Face) -> None:
    face.house.counts = [
        RouteCount("main", PENDING, 3, 4, NOW - timedelta(seconds=90)),
        RouteCount("main", HELD, 1, 1, NOW - timedelta(hours=1)),
        RouteCount("gone", PENDING, 1, 1, NOW),
    ]
    samples = _samples(face)
    assert samples["fallback_mx_queue_messages", (("primary", "main"), ("state", "pending"))] == 3
    assert samples["fallback_mx_queue_messages", (("primary", "main"), ("state", "held"))] == 1
    assert samples["fallback_mx_queue_recipients", (("primary", "main"), ("state", "pending"))] == 4
    assert samples["fallback_mx_queue_oldest_age_seconds", (("primary", "main"),)] == 3600
    assert samples["fallback_mx_queue_messages", (("primary", "gone"), ("state", "pending"))] == 1
    assert samples["fallback_mx_queue_readable", ()] == 1


def test_an_empty_queue_is_zero_and_not_absent(face: Face) -> None:
    samples = _samples(face)
    assert samples["fallback_mx_queue_messages", (("primary", "main"), ("state", "pending"))] == 0
    assert samples["fallback_mx_queue_oldest_age_seconds", (("primary", "main"),)] == 0
    assert samples["fallback_mx_accepted_messages_total", (("primary", "main"),)] == 0
    assert samples["fallback_mx_let_in_recipients_total", (("primary", "main"), ("reason", "grace"))] == 0


def test_a_queue_that_cannot_be_read_has_no_numbers_and_says_so(face: Face) -> None:
    face.house.counts = None
    face.metrics.refused("relay")
    samples = _samples(face)
    assert samples["fallback_mx_queue_readable", ()] == 0
    assert samples["fallback_mx_refused_total", (("reason", "relay"),)] == 1
    assert not [name for name, _ in samples if name.startswith("fallback_mx_queue_") and name[18:] != "readable"]


@pytest.mark.parametrize("state", ["up", "falling", "down", "rising", "unknown"])
def test_only_a_primary_that_is_up_counts_as_up(face: Face, state: str) -> None:
    face.house.states = {"main": state}
    samples = _samples(face)
    assert samples["fallback_mx_primary_up", (("primary", "main"),)] == (1 if state == "up" else 0)
    assert samples["fallback_mx_primary_state", (("primary", "main"), ("state", state))] == 1
    assert sum(value for (name, _), value in samples.items() if name == "fallback_mx_primary_state") == 1


def test_every_metric_has_our_prefix_and_none_its_time_of_creation(face: Face) -> None:
    names = {name for name, _ in _samples(face)}
    assert all(name.startswith("fallback_mx_") for name in names)
    assert not any(name.endswith("_created") for name in names)


PATHS = ["/livez", "/readyz", "/metrics", "/status.json"]
PAGES = ["/status", "/status/TOKEN", "/feed.atom", "/badge/NAME.svg", "/health"]


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_the_body(face: Face, path: str) -> None:
    status, headers, body = face.request(path, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
def test_no_other_method_is_known(face: Face, method: str) -> None:
    for path in PATHS:
        status, headers, _ = face.request(path, method)
        assert (path, status) == (path, 405)
        assert {word.strip() for word in headers["Allow"].split(",")} == {"GET", "HEAD"}


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/livez/", "/livez?x=1"])
def test_every_answer_has_the_security_headers(face: Face, path: str) -> None:
    for method in ("GET", "POST"):
        _, headers, _ = face.request(path, method)
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Server" not in headers


@pytest.mark.parametrize(
    "path", ["/livez/", "//livez", "/status/", "/static/", "/metrics/../livez", "/%2e%2e/", "/\x7f%0a"]
)
def test_an_unknown_path_is_404_and_leads_nowhere(face: Face, path: str) -> None:
    with face.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = _all(client).partition(b"\r\n\r\n")[0].lower()
    assert head.split()[1] in (b"404", b"400")
    assert b"location:" not in head


@pytest.mark.parametrize("host", ["", "evil.example", "[::1]:8025", "x" * 1000, "a b", "<script>"])
def test_whatever_the_host_header_says_the_answer_is_the_same(face: Face, host: str) -> None:
    with face.connect() as client:
        client.sendall(f"GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = _all(client).partition(b"\r\n\r\n")
    assert b" 200 " in head
    assert body == b"ok\n"
    assert not host or host.encode() not in head


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"EHLO spammer\r\nMAIL FROM:<a@b>\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
        b"GET /" + b"a" * 100_000,
        b"GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
    ids=["tls", "smtp", "many headers", "long line", "two lengths"],
)
def test_what_is_no_request_ends_the_connection_and_the_next_is_served(face: Face, octets: bytes) -> None:
    with face.connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        answer = _all(client)
        assert not answer or answer.startswith(b"HTTP/1.1 400")
    assert face.request("/livez")[0] == 200


def test_slow_clients_are_let_go_and_others_are_served() -> None:
    with Face(patience_seconds=0.2) as face:
        silent = [face.connect() for _ in range(50)]
        for client in silent[:25]:
            client.sendall(b"GET /livez HTTP/1.1\r\nHos")
        assert face.request("/livez")[0] == 200
        for client in silent:
            with client, contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""


def test_a_client_that_sends_an_endless_body_is_let_go() -> None:
    with Face(patience_seconds=0.2) as face, face.connect() as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            for _ in range(100_000):
                client.sendall(b"x" * 65536)
        assert face.request("/livez")[0] == 200


def test_two_requests_on_one_connection_are_both_answered(face: Face) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", face.server.port, timeout=30)
    for _ in range(2):
        connection.request("GET", "/livez")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"ok\n")
    connection.close()


def test_a_port_that_is_taken_is_one_clear_error(face: Face) -> None:
    second = HttpServer(make_app(House(), Metrics("1"), lambda part, error: None), "127.0.0.1", face.server.port)
    with pytest.raises(HttpListenError) as caught:
        asyncio.run(second.start())
    assert str(caught.value) == f"http.listen 127.0.0.1:{face.server.port}: Address already in use"
    assert "[http]" in caught.value.advice


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_one_clear_error(host: str) -> None:
    server = HttpServer(make_app(House(), Metrics("1"), lambda part, error: None), host, 0)
    with pytest.raises(HttpListenError, match=rf"^http.listen {host}:0: \w"):
        asyncio.run(server.start())


def test_stopping_lets_go_of_the_port_and_leaves_signals_alone() -> None:
    async def story() -> None:
        handler = signal.getsignal(signal.SIGTERM)
        server = HttpServer(make_app(House(), Metrics("1"), lambda part, error: None), "127.0.0.1", 0)
        await server.start()
        assert signal.getsignal(signal.SIGTERM) is handler
        port = server.port
        await server.stop()
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(story())


def test_a_request_under_way_is_finished_before_the_stop() -> None:
    class Slow(House):
        async def ready(self) -> Sequence[Check]:
            reached.set()
            await asyncio.sleep(0.3)
            return [Check("database", True)]

    reached = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with Face(Slow()) as face:
            answer = pool.submit(face.request, "/readyz")
            assert reached.wait(30)
        assert answer.result()[0] == 200


def _all(client: socket.socket) -> bytes:
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)
