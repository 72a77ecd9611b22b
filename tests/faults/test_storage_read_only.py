"""FAULTS 11: the queue's file system turns read-only. Mail is refused for now, and nothing that was taken is lost."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from tests.fakes.client import send
from tests.fakes.disk import Disk
from tests.fakes.mount import CannotMount, LoopDisk
from tests.fakes.relay import Relay, primary
from tests.faults.test_storage_space import LARGE
from tests.faults.test_storage_sync import TAKEN, checks, relay_on


@pytest.mark.parametrize("workers", [1, 2])
def test_while_the_disk_is_read_only_mail_is_refused_for_now_and_afterwards_taken_without_a_restart(
    make_disk: Callable[..., Disk], workers: int
) -> None:
    disk = make_disk()
    with relay_on(disk, workers=workers) as relay:
        assert send(relay.port) == TAKEN
        disk.refuse_changes(errno.EROFS)

        assert [send(relay.port) for _ in range(3)] == ["451 4.3.0"] * 3
        assert send(relay.port, LARGE)[0] == "4"
        relay.wait_for(lambda: checks(relay)[1]["database"] == (False, "QueueUnavailable"), "/readyz says so")
        assert checks(relay)[0] == 503
        assert "is read-only" in relay.log_tail()

        disk.refuse_changes(0)
        assert [send(relay.port), send(relay.port, LARGE)] == [TAKEN] * 2
        relay.wait_for(lambda: checks(relay)[0] == 200, "/readyz says 200")
        assert relay.queue_count() == 3


def test_a_disk_that_the_kernel_makes_read_only_loses_nothing_and_serves_again_once_repaired(
    loop_disk: LoopDisk,
) -> None:
    storage = {"min_free_space": "0B"}
    with Relay(primary(1), storage=storage, database_directory=loop_disk.directory) as relay:
        assert send(relay.port) == TAKEN
        try:
            loop_disk.break_down()
        except CannotMount as error:
            pytest.skip(str(error))
        assert [send(relay.port) for _ in range(3)] == ["451 4.3.0"] * 3
        relay.wait_for(lambda: checks(relay)[0] == 503, "/readyz says 503")
        assert not checks(relay)[1]["database"][0]

        relay.stop()
        loop_disk.mount_again()
        relay.start()
        assert relay.queue_count() == 1
        assert send(relay.port) == TAKEN
