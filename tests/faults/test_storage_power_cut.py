"""FAULTS 2: the power goes under load. What was answered with 250 is there, nothing is there twice, the file is sound.

A disk that keeps a journal (tests/fakes/disk.py) gives what any moment would have left: what was not synced is gone,
in part there, or torn. A file system that is cut off by its own kernel gives what one such moment really left.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, text

from fallback_mx.outages.schema import MIGRATIONS
from mxqueue import Queue
from mxqueue.migrate import QUEUE
from tests.fakes.disk import Disk
from tests.fakes.mail import accept
from tests.fakes.mount import LoopDisk
from tests.fakes.power import Kind, Platter, Record, read
from tests.fakes.relay import Relay, primary
from tests.fakes.senders import Senders, content

CUTS = 8
MESSAGES = 1200
NO_FLOOR = {"min_free_space": "0B"}


def send_until(relay: Relay, senders: Senders, is_enough: Callable[[], bool]) -> None:
    with senders:
        relay.wait_for(is_enough, "there has been enough mail", timeout=60)


def images(records: list[Record], cuts: list[int], chance: random.Random) -> Iterator[tuple[int, dict[str, bytes]]]:
    """What a cut after so many records leaves, for each of these numbers."""
    platter, played = Platter(), 0
    for cut in sorted(cuts):
        for record in records[played:cut]:
            platter.play(record)
        played = cut
        yield cut, platter.after_a_cut(chance)


def write_to(directory: Path, files: dict[str, bytes]) -> str:
    """The URL of the queue in them."""
    directory.mkdir()
    for name, octets in files.items():
        (directory / name).write_bytes(octets)
    return f"sqlite:///{directory}/queue.db"


def open_as_the_service(url: str) -> Queue:
    return Queue.open(url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))


def check(url: str, promises: dict[str, str]) -> None:
    """The queue is sound, has all of these, none twice, and every message whole."""
    queue = open_as_the_service(url)
    try:
        assert queue.read(lambda connection: connection.scalar(text("PRAGMA integrity_check"))).result() == "ok"
        tokens, hashes = queue.read(_what_is_there).result()
        assert {queue_id: tokens.get(queue_id) for queue_id in promises} == promises
        assert [token for token, times in Counter(tokens.values()).items() if times > 1] == [], "twice in the queue"
        assert hashes == {queue_id: sha256(content(token)).digest() for queue_id, token in tokens.items()}
    finally:
        queue.close()


def _what_is_there(connection: Connection) -> tuple[dict[str, str], dict[str, bytes]]:
    """The token, and the hash of the content as it lies there, by queue id."""
    paths = connection.execute(text("SELECT message_id, forward_path FROM recipient WHERE position = 0"))
    tokens = {row.message_id: row.forward_path.removesuffix("@example.test") for row in paths}
    chunks = connection.execute(text("SELECT message_id, octets FROM chunk ORDER BY message_id, position"))
    return tokens, {
        queue_id: sha256(b"".join(row.octets for row in rows)).digest()
        for queue_id, rows in itertools.groupby(chunks, lambda row: row.message_id)
    }


def test_what_was_answered_is_there_whenever_the_power_is_cut(make_disk: Callable[..., Disk], tmp_path: Path) -> None:
    disk = make_disk(journal=True)
    assert disk.journal is not None
    relay = Relay(primary(1), database_directory=disk.directory, environment=disk.environment)
    with relay:
        senders = Senders(relay.port, clock=lambda: disk.position)
        send_until(relay, senders, lambda: len(senders.promises) >= MESSAGES)
        relay.kill()
    records = read(disk.journal)
    chance = random.Random(2)
    # The moment after a reply is the one that tells; any other may find something else.
    cuts = chance.sample(sorted(senders.promised_at.values()), CUTS // 2)
    cuts += [chance.randint(cuts[0], len(records)) for _ in range(CUTS - len(cuts))]

    for number, (cut, files) in enumerate(images(records, cuts, chance)):
        promised = {id: token for id, token in senders.promises.items() if senders.promised_at[id] <= cut}
        assert promised
        check(write_to(tmp_path / f"cut{number}", files), promised)

    synced = {record.inode for record in records if record.kind is Kind.SYNC}
    assert len(synced) > 1, "the log alone was synced: no cut met a checkpoint"
    with Relay(primary(1), database_directory=tmp_path / f"cut{CUTS - 1}") as again:
        assert promised.keys() <= {row["id"] for row in again.cli_json_lines("queue", "list")}


def test_a_database_whose_making_was_cut_off_is_made_by_the_next_start(
    make_disk: Callable[..., Disk], tmp_path: Path
) -> None:
    disk = make_disk(journal=True)
    assert disk.journal is not None
    with Relay(primary(1), database_directory=disk.directory, environment=disk.environment) as relay:
        relay.kill()
    records = read(disk.journal)
    every_few = range(0, len(records), max(1, len(records) // 10))

    for number, (_, files) in enumerate(images(records, list(every_few), random.Random(3))):
        queue = open_as_the_service(write_to(tmp_path / f"cut{number}", files))
        kept = accept(queue)
        assert [message.id for message in queue.list().result()] == [kept]
        assert queue.read(lambda connection: connection.scalar(text("PRAGMA integrity_check"))).result() == "ok"
        queue.close()


def test_what_was_answered_is_there_after_the_file_system_is_cut_off_under_load(loop_disk: LoopDisk) -> None:
    with Relay(primary(1), storage=NO_FLOOR, database_directory=loop_disk.directory) as relay:
        senders = Senders(relay.port)
        with senders:
            relay.wait_for(lambda: len(senders.promises) >= MESSAGES // 4, "there is load")
            cut_at = time.monotonic_ns()
            loop_disk.cut_off()
        relay.kill()
        # A sync that the kernel has in hand while it cuts off may be told that all is well.
        promised = {id: token for id, token in senders.promises.items() if senders.promised_at[id] < cut_at}
        assert len(promised) >= MESSAGES // 4

        loop_disk.mount_again()
        relay.start()
        relay.stop()
        check(relay.url, promised)
