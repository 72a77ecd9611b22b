"""FAULTS 4: no room for mail. 452 4.3.1, the database sound, and mail again as soon as there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from mxqueue import Queue
from tests.fakes.client import send
from tests.fakes.mount import SmallDisk
from tests.fakes.relay import Relay, primary
from tests.faults.test_storage_sync import TAKEN, checks

NO_ROOM = "452 4.3.1"
MEDIUM = b"Subject: medium\r\n\r\n" + os.urandom(30_000).hex().encode() + b"\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 150_000  # more than is kept in memory


@contextmanager
def relay_on(disk: SmallDisk, floor: str, workers: int = 1) -> Iterator[Relay]:
    """The primary is away. In the end everything that it counted must be in a sound queue."""
    storage, server = {"min_free_space": floor}, {"workers": workers}
    with Relay(primary(1), storage=storage, server=server, database_directory=disk.directory) as relay:
        yield relay
        relay.stop()
        queue = Queue.open(relay.url, node="mx2")
        assert queue.read(lambda connection: connection.scalar(text("PRAGMA integrity_check"))).result() == "ok"
        for message in queue.list().result():
            assert len(b"".join(queue.content(message.id).result().chunks())) == message.size
        queue.close()


def is_well(relay: Relay) -> bool:
    return checks(relay)[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_below_the_floor_mail_is_refused_before_it_is_sent_and_taken_again_above_it(
    small_disk: SmallDisk, workers: int
) -> None:
    with relay_on(small_disk, "10MB", workers) as relay:
        assert send(relay.port) == TAKEN
        small_disk.fill(leave=9_000_000)
        relay.wait_for(lambda: send(relay.port) == NO_ROOM, "mail is refused")
        relay.wait_for(lambda: not checks(relay)[1]["space"][0], "/readyz says so")
        assert checks(relay)[0] == 503
        assert checks(relay)[1]["database"][0], "what is queued can still be settled"

        small_disk.empty()
        relay.wait_for(lambda: send(relay.port) == TAKEN, "mail is taken again")
        relay.wait_for(lambda: is_well(relay), "/readyz says 200")


def test_a_disk_that_fills_up_in_a_commit_refuses_that_mail_and_recovers_by_itself(small_disk: SmallDisk) -> None:
    with relay_on(small_disk, "0B") as relay:
        small_disk.fill(leave=1_000_000)
        answers = [send(relay.port, MEDIUM)]
        while answers[-1] == TAKEN:
            answers.append(send(relay.port, MEDIUM))
        assert answers[-1] == NO_ROOM
        taken = len(answers) - 1
        assert taken > 0
        assert relay.queue_count() == taken

        small_disk.empty()
        assert send(relay.port, MEDIUM) == TAKEN
        relay.wait_for(lambda: is_well(relay), "/readyz says 200")
        assert relay.queue_count() == taken + 1


def test_without_an_inode_large_mail_is_refused_small_mail_is_taken_and_both_are_once_there_is_one(
    small_disk: SmallDisk,
) -> None:
    with relay_on(small_disk, "0B") as relay:
        small_disk.take_the_inodes()
        relay.wait_for(lambda: checks(relay)[1]["space"] == (False, "no inode is free"), "/readyz says so")
        assert send(relay.port, LARGE) == NO_ROOM
        assert send(relay.port) == TAKEN

        small_disk.empty()
        relay.wait_for(lambda: send(relay.port, LARGE) == TAKEN, "large mail is taken")
        relay.wait_for(lambda: is_well(relay), "/readyz says 200")
        assert relay.queue_count() == 2
