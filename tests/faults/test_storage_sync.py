"""FAULTS 3 and 8: a sync fails, a sync takes its time. What is on the disk is known, or it is not promised."""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from fallback_mx.outages.schema import MIGRATIONS
from mxqueue import Queue
from mxqueue.migrate import QUEUE
from mxqueue.sqlite import sqlite_module
from tests.fakes.client import Client, send
from tests.fakes.disk import Disk
from tests.fakes.mail import accept
from tests.fakes.power import Platter, read
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import Relay, primary

TAKEN, LATER = "250 2.0.0", "451 4.3.0"


def relay_on(disk: Disk, port: int = 1, workers: int = 1) -> Relay:
    return Relay(
        primary(port), server={"workers": workers}, database_directory=disk.directory, environment=disk.environment
    )


def checks(relay: Relay) -> tuple[int, dict[str, tuple[bool, str]]]:
    """The status of /readyz, and for each check whether it is well and what it says."""
    status, body = relay.http("/readyz")
    return status, {check["name"]: (check["ok"], check["detail"]) for check in json.loads(body)["checks"]}


def test_after_a_failed_sync_nothing_is_taken_or_synced_until_a_restart_finds_every_250(
    make_disk: Callable[..., Disk],
) -> None:
    disk = make_disk()
    with relay_on(disk, workers=2) as relay:
        assert send(relay.port) == TAKEN
        disk.fail_a_sync(errno.EIO)
        assert send(relay.port) == LATER
        assert disk.syncs_failed == 1
        syncs = disk.syncs

        assert [send(relay.port) for _ in range(3)] == [LATER] * 3
        relay.wait_for(lambda: checks(relay)[0] == 503, "/readyz says 503")
        assert checks(relay)[1]["database"] == (False, "StorageFailed")
        assert relay.http("/livez")[0] == 200
        assert disk.syncs == syncs, "a sync was tried again"
        assert 'detail="disk I/O error"' in relay.log_tail()

        relay.restart()
        assert relay.queue_count() == 1
        assert send(relay.port) == TAKEN
        assert relay.queue_count() == 2


def test_after_a_failed_sync_of_a_checkpoint_nothing_is_taken_until_a_restart_finds_every_250(
    make_disk: Callable[..., Disk],
) -> None:
    disk = make_disk()
    with relay_on(disk) as relay:
        disk.fail_a_sync(errno.EIO, of=disk.directory / "queue.db")
        large = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 300_000
        assert [send(relay.port, large) for _ in range(2)] == [TAKEN] * 2, "the log alone is synced for these"
        relay.wait_for(lambda: disk.syncs_failed == 1, "a checkpoint has failed")

        relay.wait_for(lambda: send(relay.port) == LATER, "nothing more is taken")
        relay.wait_for(lambda: checks(relay)[1]["database"] == (False, "StorageFailed"), "/readyz says so")

        before = relay.queue_count()
        relay.restart()
        assert relay.queue_count() == before >= 2
        assert send(relay.port) == TAKEN


def test_a_power_cut_at_any_moment_after_a_kill_that_followed_a_failed_sync_loses_nothing(
    make_disk: Callable[..., Disk], tmp_path: Path
) -> None:
    """The kernel still has what the sync lost, and takes it for written: nothing may be built on it."""
    disk = make_disk(journal=True)
    assert disk.journal is not None
    # It is in the database and no longer in its log: what is written over its pages is gone for good.
    url = f"sqlite:///{disk.directory}/queue.db"
    queue = Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
    accept(queue, "before@example.test")
    queue.close()
    platter, chance = Platter(disk.directory), random.Random(1)
    with relay_on(disk) as relay:
        disk.fail_a_sync(errno.EIO)
        assert send(relay.port, recipient="failed@example.test") == LATER
        relay.kill()
        killed_at = disk.position
        relay.start()
        assert send(relay.port, recipient="after@example.test") == TAKEN
        answered_at = disk.position
        relay.kill()

    for record in read(disk.journal):
        platter.play(record)
        if record.position >= killed_at:
            cut = record.position + 1
            expected = {"before@example.test"} | ({"after@example.test"} if cut >= answered_at else set())
            for number in range(3):
                found = recipients(tmp_path / f"cut{cut}.{number}", platter.after_a_cut(chance))
                assert expected <= found, f"cut off at record {cut} of {killed_at} to {answered_at}"


def recipients(directory: Path, files: dict[str, bytes]) -> set[str]:
    """Of what is left; the database must be sound."""
    directory.mkdir()
    for name, octets in files.items():
        (directory / name).write_bytes(octets)
    connection = sqlite_module().connect(directory / "queue.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = {path for (path,) in connection.execute("SELECT forward_path FROM recipient")}
    connection.close()
    shutil.rmtree(directory)
    return found


def test_while_a_sync_takes_its_time_senders_wait_and_everything_else_goes_on(
    make_disk: Callable[..., Disk],
) -> None:
    disk = make_disk()
    with FakePrimary() as fake:
        fake.go_away()
        with relay_on(disk, fake.port, workers=2) as relay:
            relay.wait_for(lambda: relay.primary_state() == "down", "the primary is down")
            clients = [Client(relay.port) for _ in range(4)]
            with disk.syncs_held():
                assert [client.begin() for client in clients] == [""] * 4
                relay.wait_for(lambda: disk.syncs_waiting == 1, "a sync is under way")
                fake.answer()
                relay.wait_for(lambda: relay.primary_state() == "up", "health goes on")
                status, found = checks(relay)
                assert (status, found) == (503, {"service": (False, "no answer within 5 s")})
                assert relay.http("/livez")[0] == 200
                assert 'fallback_mx_primary_up{primary="main"} 1.0' in relay.http("/metrics")[1]
                assert [client.has_reply for client in clients] == [False] * 4, "answered before the commit"
                assert relay.queue_count() == 0

            assert [client.reply() for client in clients] == [TAKEN] * 4
            relay.wait_for(lambda: len(fake.messages) == 4, "what was taken is delivered")
            relay.wait_for(lambda: checks(relay)[0] == 200, "/readyz says 200")
            relay.wait_for(
                lambda: [row["ended_at"] is not None for row in relay.outages()] == [True], "it is on record"
            )
            for client in clients:
                client.__exit__(None, None, None)
