"""Sessions in several processes: what the service promises holds whichever of them dies, or if all do."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

LARGE = b"Subject: large\r\n\r\n" + b"z" * 70 + b"\r\n" + (b"y" * 998 + b"\r\n") * 5_000


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Two accepting processes; the primary is a port where nobody answers."""
    with Relay(primary(1), server={"workers": 2}) as relay:
        relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
        yield relay


def accepting(relay: Relay) -> list[int]:
    children = Path(f"/proc/{relay.pid}/task/{relay.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def client(relay: Relay) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=30)


def send(relay: Relay, content: bytes = b"Subject: one\r\n\r\nout\r\n") -> None:
    with client(relay) as smtp:
        smtp.sendmail("a@sender.test", ["u@example.test"], content)


def metric(relay: Relay, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http_port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_mail_small_and_large_is_queued_through_either_process(relay: Relay) -> None:
    assert len(accepting(relay)) == 2
    for _ in range(8):
        send(relay)
    send(relay, LARGE)
    assert relay.queue_count() == 9
    stored = [int(row["size"]) for row in relay.cli_json_lines("queue", "list")]
    assert max(stored) == len(LARGE)
    large = next(row["id"] for row in relay.cli_json_lines("queue", "list") if row["size"] == len(LARGE))
    assert relay.cli("queue", "cat", large).encode().endswith(LARGE[-5_000:].replace(b"\r\n", b"\n"))


def test_connections_are_spread_over_the_processes(relay: Relay) -> None:
    held = [client(relay) for _ in range(40)]
    sockets = {pid: sum(1 for fd in Path(f"/proc/{pid}/fd").iterdir() if _is_socket(fd)) for pid in accepting(relay)}
    for smtp in held:
        smtp.close()
    # Each has its channel and its port besides; by chance alone one of two would get fewer than 5 of 40 once in 10^6.
    assert min(sockets.values()) >= 7, f"sockets by process: {sockets}"


def _is_socket(descriptor: Path) -> bool:
    with contextlib.suppress(OSError):
        return str(descriptor.readlink()).startswith("socket:")
    return False


def test_a_process_that_dies_is_replaced_and_the_others_serve_meanwhile(relay: Relay) -> None:
    before = accepting(relay)
    os.kill(before[0], signal.SIGKILL)
    for _ in range(10):
        send(relay)
    relay.wait_for(lambda: len(accepting(relay)) == 2 and accepting(relay) != before, "there are two again")
    assert relay.queue_count() == 10
    assert "number 1 ended with status -9" in relay.log_tail()


def test_they_leave_at_once_when_the_service_is_killed(relay: Relay) -> None:
    pids = accepting(relay)
    with client(relay):
        relay.kill()
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < deadline, "an accepting process outlives its service"
            time.sleep(0.05)
        relay.start()


def test_a_primary_that_comes_up_is_noticed_by_every_process() -> None:
    with FakePrimary() as fake:
        fake.go_away()
        with Relay(primary(fake.port), server={"workers": 2}) as relay:
            relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
            assert rcpt(relay) == {250}
            fake.answer()
            relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
            time.sleep(0.2)
            assert rcpt(relay) == {451}


def rcpt(relay: Relay) -> set[int]:
    """What a good recipient is answered, by as many connections as it takes to meet every process."""
    codes = set()
    for _ in range(20):
        with client(relay) as smtp:
            smtp.ehlo()
            smtp.mail("a@sender.test")
            codes.add(smtp.rcpt("u@example.test")[0])
    return codes


def test_sessions_and_refusals_of_every_process_are_counted(relay: Relay) -> None:
    held = [client(relay) for _ in range(12)]
    for smtp in held:
        smtp.ehlo()
        smtp.mail("a@sender.test")
        assert smtp.rcpt("u@elsewhere.test")[0] == 550
    relay.wait_for(lambda: metric(relay, "fallback_mx_sessions ") == 12, "twelve sessions are counted")
    assert metric(relay, "fallback_mx_refused_total") == 12
    for smtp in held:
        smtp.close()
    relay.wait_for(lambda: metric(relay, "fallback_mx_sessions ") == 0, "none is left")


def test_the_sessions_of_a_process_that_died_are_no_longer_counted(relay: Relay) -> None:
    held = [client(relay) for _ in range(12)]
    relay.wait_for(lambda: metric(relay, "fallback_mx_sessions ") == 12, "twelve sessions are counted")
    for pid in accepting(relay):
        os.kill(pid, signal.SIGKILL)
    relay.wait_for(lambda: metric(relay, "fallback_mx_sessions ") == 0, "none is left")
    for smtp in held:
        smtp.close()
    relay.wait_for(lambda: len(accepting(relay)) == 2, "there are two again")


def test_a_stop_tells_every_session_and_ends_every_process(relay: Relay) -> None:
    pids = accepting(relay)
    held = [client(relay) for _ in range(6)]
    relay.stop()
    for smtp in held:
        code, text = smtp.getreply()
        assert (code, b"stopping" in text) == (421, True)
        smtp.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_one_worker_is_one_process() -> None:
    with Relay(primary(1), server={"workers": 1}) as relay:
        relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
        assert accepting(relay) == []
        send(relay)
        assert relay.queue_count() == 1


def test_what_one_client_may_have_it_may_have_of_all_processes_together() -> None:
    with Relay(primary(1), server={"workers": 2, "max_connections_per_client": 5}) as relay:
        replies = []
        held = [socket.create_connection(("127.0.0.1", relay.port), timeout=30) for _ in range(20)]
        for connection in held:
            replies.append(connection.recv(100)[:3])
        # Both may let in the fifth at the same moment.
        assert replies.count(b"220") in (5, 6), replies
        assert set(replies) == {b"220", b"421"}
        told = 'fallback_mx_refused_total{reason="client_connections"}'
        relay.wait_for(lambda: metric(relay, told) == replies.count(b"421"), "all are counted")
        for pid in accepting(relay):
            os.kill(pid, signal.SIGKILL)
        relay.wait_for(lambda: len(accepting(relay)) == 2, "there are two again")
        with client(relay) as smtp:
            assert smtp.noop()[0] == 250
        for connection in held:
            connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_size_that_a_primary_takes_is_remembered_in_its_outage(workers: int) -> None:
    with (
        FakePrimary(extensions=("SIZE 50000",)) as fake,
        Relay(primary(fake.port), server={"workers": workers}) as relay,
    ):
        relay.wait_for(lambda: relay.primary_state() == "up", "the primary is up")
        fake.go_away()
        relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
        with client(relay) as smtp:
            smtp.ehlo()
            assert smtp.esmtp_features["size"] == "49300"
            with pytest.raises(smtplib.SMTPSenderRefused):
                smtp.sendmail("a@sender.test", ["u@example.test"], b"x\r\n" * 20_000)
