"""Connections counted by several real processes, through the memory that they share."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallback_mx.smtp.crowd import network_of, share_memory
from tests.fakes.crowd_process import LIMITS

ROOT = Path(__file__).parents[2]
SLOTS = 3
ADDRESSES = ["192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:db8::2"]


class Process:
    def __init__(self, descriptor: int, slot: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.crowd_process", str(descriptor), str(SLOTS), str(slot)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "queue")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[descriptor],
        )
        assert self.ask("total")

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = share_memory(SLOTS)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def processes(memory: int) -> Iterator[list[Process]]:
    started = [Process(memory, slot) for slot in range(SLOTS)]
    yield started
    for process in started:
        process.kill()


def test_several_processes_let_in_whom_one_would(processes: list[Process]) -> None:
    chance, inside = random.Random(3), [Counter[str]() for _ in processes]
    for _ in range(300):
        who, address = chance.randrange(SLOTS), chance.choice(ADDRESSES)
        everybody = sum(inside, Counter[str]())
        if inside[who][address] and chance.random() < 0.5:
            processes[who].ask(f"leave {address}")
            inside[who][address] -= 1
            continue
        neighbours = sum(times for each, times in everybody.items() if network_of(each) == network_of(address))
        is_full = (
            everybody[address] >= LIMITS.per_client
            or neighbours >= LIMITS.per_network
            or everybody.total() >= LIMITS.connections
        )
        assert bool(processes[who].ask(f"enter {address}")) == is_full
        inside[who][address] += not is_full


def test_processes_that_count_at_the_same_time_lose_nobody(processes: list[Process]) -> None:
    for seed, process in enumerate(processes):
        process.tell(f"rush {seed}")
    inside = sum(int(process.answer()) for process in processes)
    assert [int(process.ask("total")) for process in processes] == [inside] * SLOTS


def test_who_was_counted_by_a_killed_process_is_forgotten_with_its_successor(
    memory: int, processes: list[Process]
) -> None:
    for process in processes:
        assert process.ask("enter 192.0.2.1") == ""
    processes[1].kill()
    processes[1] = Process(memory, 1)
    assert [process.ask("total") for process in processes] == ["2"] * SLOTS
    assert [processes[1].ask("enter 192.0.2.1") for _ in range(3)] == ["", "", "client_connections"]
