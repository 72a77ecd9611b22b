"""Who may have one connection more: by one process alone, and by several that share what they count."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.crowd import KEY_OCTETS, Crowd, CrowdLimits, forget, network_of, share_memory

ADDRESSES = [
    *(f"192.0.2.{number}" for number in range(4)),
    *(f"198.51.100.{number}" for number in range(3)),
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:1::1",
]
LIMITS = CrowdLimits(connections=9, per_client=3, per_network=5)
STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ADDRESSES), st.booleans()), max_size=80)


@pytest.fixture
def memory() -> Iterator[int]:
    """Shared by three. The key is a fixed one, with which the addresses above are in buckets of their own."""
    descriptor = share_memory(3)
    os.pwrite(descriptor, bytes(KEY_OCTETS), 0)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.254"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("::ffff:192.0.2.1", "192.0.2.9"),
        ("fe80::1%eth0", "fe80::2"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_a_network_is_a_24_or_a_64(address: str, network: str) -> None:
    assert network_of(address) == network_of(network)


@pytest.mark.parametrize(
    ("address", "other"),
    [("192.0.2.1", "192.0.3.1"), ("2001:db8:1:2::1", "2001:db8:1:3::1"), ("a:b", "a:c"), ("192.0.2.1", "")],
)
def test_another_network_is_another(address: str, other: str) -> None:
    assert network_of(address) != network_of(other)


class Plain:
    """The same by counting what is there."""

    def __init__(self) -> None:
        self.here: list[Counter[str]] = [Counter(), Counter(), Counter()]

    @property
    def all(self) -> Counter[str]:
        return sum(self.here, Counter())

    def expected(self, address: str) -> str:
        everybody = self.all
        if everybody[address] >= LIMITS.per_client:
            return "client_connections"
        neighbours = sum(times for each, times in everybody.items() if network_of(each) == network_of(address))
        if neighbours >= LIMITS.per_network:
            return "network_connections"
        return "connections" if everybody.total() >= LIMITS.connections else ""


def check(crowds: list[Crowd], steps: list[tuple[int, str, bool]]) -> None:
    plain = Plain()
    for who, address, is_coming in steps:
        who %= len(crowds)
        if is_coming:
            expected = plain.expected(address)
            assert crowds[who].enter(address) == expected
            if not expected:
                plain.here[who][address] += 1
        elif plain.here[who][address]:
            crowds[who].leave(address)
            plain.here[who][address] -= 1
        assert [crowd.total for crowd in crowds] == [plain.all.total()] * len(crowds)


@given(STEPS)
def test_one_process_counts_as_a_plain_counter_does(steps: list[tuple[int, str, bool]]) -> None:
    check([Crowd(LIMITS)], steps)


@given(STEPS)
def test_processes_that_share_a_memory_count_together_as_one_would(steps: list[tuple[int, str, bool]]) -> None:
    descriptor = share_memory(3)
    os.pwrite(descriptor, bytes(KEY_OCTETS), 0)
    crowds = [Crowd(LIMITS, slots=3, slot=slot, descriptor=descriptor) for slot in range(3)]
    os.close(descriptor)
    check(crowds, steps)
    for crowd in crowds:
        crowd.close()


def test_one_that_is_refused_is_not_counted() -> None:
    crowd = Crowd(CrowdLimits(connections=10, per_client=1, per_network=10))
    assert [crowd.enter("192.0.2.1") for _ in range(3)] == ["", "client_connections", "client_connections"]
    assert crowd.total == 1
    crowd.leave("192.0.2.1")
    assert crowd.enter("192.0.2.1") == ""


def test_a_process_that_takes_the_place_of_a_dead_one_begins_at_nothing(memory: int) -> None:
    living = Crowd(slots=3, slot=0, descriptor=memory)
    dead = Crowd(slots=3, slot=1, descriptor=memory)
    living.enter("192.0.2.1")
    dead.enter("192.0.2.1")
    assert living.total == 2
    successor = Crowd(CrowdLimits(per_client=1), slots=3, slot=1, descriptor=memory)
    assert living.total == successor.total == 1
    assert successor.enter("192.0.2.1") == "client_connections"
    assert successor.enter("192.0.2.2") == ""


def test_who_was_counted_by_a_dead_process_can_be_forgotten_before_there_is_another(memory: int) -> None:
    living, dead = (Crowd(slots=3, slot=slot, descriptor=memory) for slot in (0, 1))
    living.enter("192.0.2.1")
    dead.enter("192.0.2.1")
    forget(memory, 1)
    assert living.total == 1
    living.limits = CrowdLimits(per_client=2)
    assert [living.enter("192.0.2.1") for _ in range(2)] == ["", "client_connections"]


def test_a_process_that_closes_takes_back_what_it_had_counted(memory: int) -> None:
    staying, going = (Crowd(slots=3, slot=slot, descriptor=memory) for slot in (0, 2))
    going.enter("192.0.2.1")
    going.close()
    assert staying.total == 0


def test_the_hash_is_another_in_every_service() -> None:
    keys = set()
    for _ in range(2):
        descriptor = share_memory(1)
        keys.add(os.pread(descriptor, KEY_OCTETS, 0))
        os.close(descriptor)
    assert len(keys) == 2


def test_it_is_dense_from_80_percent_on() -> None:
    crowd = Crowd(CrowdLimits(connections=10))
    for number in range(7):
        crowd.enter(f"192.0.2.{number}")
    assert (crowd.share, crowd.is_dense) == (0.7, False)
    crowd.enter("192.0.2.7")
    assert (crowd.share, crowd.is_dense) == (0.8, True)


def test_new_limits_hold_from_the_next_connection_on() -> None:
    crowd = Crowd()
    crowd.enter("192.0.2.1")
    crowd.limits = CrowdLimits(connections=1)
    assert crowd.enter("198.51.100.1") == "connections"
