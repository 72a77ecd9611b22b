"""FAULTS 12: out of file descriptors. Connections wait, nothing spins, sessions go on, and it ends by itself."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.fakes.client import Client, send
from tests.fakes.relay import Relay, family, primary
from tests.faults.test_storage_space import LARGE
from tests.faults.test_storage_sync import TAKEN, checks

FEW = 5  # fewer than are open: there is none to be had
SOME_SECONDS = 3.0
BUSY = 0.1  # of one processor; who spins takes all that there is


@contextmanager
def without_descriptors(*pids: int) -> Iterator[None]:
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (FEW, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            if Path(f"/proc/{pid}").exists():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def processor_seconds(pids: list[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def relay_with(workers: int) -> Relay:
    return Relay(primary(1), server={"workers": workers})


@pytest.mark.parametrize("workers", [1, 2])
def test_without_descriptors_connections_wait_nothing_spins_and_they_are_served_afterwards(workers: int) -> None:
    with relay_with(workers) as relay, ExitStack() as stack:
        pids = family(relay.pid)
        early = [stack.enter_context(Client(relay.port)) for _ in range(4)]
        with without_descriptors(*pids):
            late = [stack.enter_context(socket.create_connection(("127.0.0.1", relay.port), 30)) for _ in range(20)]
            resting = 'part=listener detail="almost out of file descriptors"'
            relay.wait_for(lambda: relay.log_tail().count(resting) == workers, "the listener rests")
            before, began = processor_seconds(pids), time.monotonic()
            time.sleep(SOME_SECONDS)
            used = (processor_seconds(pids) - before) / (time.monotonic() - began)
            assert used < BUSY, f"{used:.0%} of a processor taken with nothing to do"
            assert [client.begin() or client.reply() for client in early] == [TAKEN] * 4, "sessions go on"

        # Those that came before the listener rested may have been turned away by the event loop.
        greetings = [connection.recv(200)[:3] for connection in late]
        assert set(greetings) <= {b"220", b""}
        assert b"220" in greetings
        relay.wait_for(lambda: checks(relay)[0] == 200, "/readyz says 200")
        assert [send(relay.port), send(relay.port, LARGE)] == [TAKEN] * 2
        assert relay.queue_count() == 6


def test_a_large_message_is_refused_for_now_by_a_process_that_may_open_no_file_for_it() -> None:
    with relay_with(1) as relay, Client(relay.port) as early:
        with without_descriptors(relay.pid):
            assert (early.begin(LARGE) or early.reply())[0] == "4"
            assert (early.begin() or early.reply()) == TAKEN
        assert (early.begin(LARGE) or early.reply()) == TAKEN


def test_a_large_message_is_refused_for_now_where_the_service_cannot_take_its_descriptor_over() -> None:
    with relay_with(2) as relay, Client(relay.port) as early:
        with without_descriptors(relay.pid):
            assert (early.begin(LARGE) or early.reply()) == "451 4.3.0"
            assert (early.begin() or early.reply()) == TAKEN
        assert (early.begin(LARGE) or early.reply()) == TAKEN
        assert relay.queue_count() == 2


def test_an_accepting_process_that_dies_while_there_are_no_descriptors_is_replaced_afterwards() -> None:
    with relay_with(2) as relay:
        victim = family(relay.pid)[1]
        with without_descriptors(relay.pid):
            os.kill(victim, signal.SIGKILL)
            relay.wait_for(lambda: "number 1 cannot be started" in relay.log_tail(), "it cannot be started")
        relay.wait_for(lambda: len(family(relay.pid)) == 3, "there are two again")
        assert [send(relay.port) for _ in range(6)] == [TAKEN] * 6
