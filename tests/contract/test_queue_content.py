"""Content: octet for octet what was accepted, checked when it is read; damage stays with its own message."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text

from mxqueue import BytesContent, Damaged, NoSuchMessage, Queue, Spool
from mxqueue.model import CHUNK_SIZE, PREFETCH_OCTETS
from tests.fakes.mail import DELIVERED, FAILED, HELD, accept, claim_one, content, envelope, settle

SIZES = [0, 1, PREFETCH_OCTETS, PREFETCH_OCTETS + 1, CHUNK_SIZE, CHUNK_SIZE + 1, 5_000_000]


@cache
def octets(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def chunks_stored(queue: Queue, queue_id: str) -> list[int]:
    query = text("SELECT length(octets) FROM chunk WHERE message_id = :id ORDER BY position")
    return list(queue.read(lambda connection: connection.scalars(query, {"id": queue_id}).all()).result())


def write(queue: Queue, statement: str, **values: object) -> None:
    assert queue.writer.submit(lambda connection: connection.execute(text(statement), values).rowcount).result() == 1


def test_content_comes_back_octet_for_octet(queue: Queue) -> None:
    for size in SIZES:
        stored = queue.content(accept(queue, content=octets(size))).result()

        assert (stored.size, stored.sha256) == (size, sha256(octets(size)).digest())
        assert b"".join(stored.chunks()) == octets(size), f"{size} octets"


def test_spooled_content_comes_back_octet_for_octet(queue: Queue, tmp_path: Path) -> None:
    for size in SIZES:
        with Spool(tmp_path) as spool:
            for start in range(0, size, 60_000):
                spool.write(octets(size)[start : start + 60_000])
            (queue_id,) = queue.accept([envelope()], spool).result()

        assert content(queue, queue_id) == octets(size), f"{size} octets"


def test_content_is_stored_in_pieces_of_one_mebibyte(queue: Queue) -> None:
    queue_id = accept(queue, content=octets(2 * CHUNK_SIZE + 5))

    assert chunks_stored(queue, queue_id) == [CHUNK_SIZE, CHUNK_SIZE, 5]


def test_content_is_read_again_after_a_restart(queue: Queue, open_queue: Callable[..., Queue]) -> None:
    queue_id = accept(queue, content=octets(3_000_000))
    queue.close()

    assert content(open_queue(exclusive=True), queue_id) == octets(3_000_000)


def test_the_contents_of_several_messages_come_at_once(queue: Queue) -> None:
    given = {accept(queue, content=octets(size)): octets(size) for size in SIZES}

    found = queue.contents(list(given)).result()

    assert {queue_id: b"".join(each.chunks()) for queue_id, each in found.items()} == given


def test_a_message_that_does_not_exist_has_no_content(queue: Queue) -> None:
    with pytest.raises(NoSuchMessage):
        queue.content("01KJMMA2G00000000000000000").result()


def test_content_goes_when_the_last_recipient_is_finished(queue: Queue) -> None:
    for size in (1, PREFETCH_OCTETS + 1, CHUNK_SIZE + 1):
        queue_id = accept(queue, "one@example.test", "two@example.test", content=octets(size))
        claim = claim_one(queue)

        settle(queue, claim, DELIVERED, 0)
        assert content(queue, queue_id) == octets(size)

        settle(queue, claim, FAILED, 1)
        assert chunks_stored(queue, queue_id) == []
        with pytest.raises(NoSuchMessage, match="deleted"):
            queue.content(queue_id).result()


def test_content_stays_while_a_recipient_is_held(queue: Queue) -> None:
    queue_id = accept(queue, "one@example.test", "two@example.test", content=octets(10))
    claim = claim_one(queue)
    settle(queue, claim, HELD, 0)
    settle(queue, claim, DELIVERED, 1)

    assert content(queue, queue_id) == octets(10)


DAMAGE = {
    "an octet of the first chunk": "UPDATE chunk SET octets = :other WHERE message_id = :id AND position = 0",
    "the length of the first chunk": "UPDATE chunk SET octets = :short WHERE message_id = :id AND position = 0",
    "the length of the last chunk": "UPDATE chunk SET octets = :short WHERE message_id = :id AND position = :last",
    "the first chunk is gone": "DELETE FROM chunk WHERE message_id = :id AND position = 0",
    "the last chunk is gone": "DELETE FROM chunk WHERE message_id = :id AND position = :last",
    "the size in the envelope": "UPDATE message SET size = size + 1 WHERE id = :id",
    "the hash in the envelope": "UPDATE message SET sha256 = :short WHERE id = :id",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_content_is_noticed_before_it_ends_and_harms_no_other(queue: Queue, what: str) -> None:
    sound = accept(queue, content=octets(7))
    for size in (500, CHUNK_SIZE, 2 * CHUNK_SIZE + 5):
        damaged = accept(queue, content=octets(size))
        damage(queue, DAMAGE[what], damaged, size)

        found = queue.contents([sound, damaged]).result()

        handed_out: list[bytes] = []
        with pytest.raises(Damaged, match=damaged):
            handed_out.extend(found[damaged].chunks())
        assert len(handed_out) <= (found[damaged].size - 1) // CHUNK_SIZE, "the last piece must not be handed out"
        assert b"".join(found[sound].chunks()) == octets(7)
        with pytest.raises(Damaged, match=damaged):
            list(queue.content(damaged).result().chunks())


def damage(queue: Queue, statement: str, queue_id: str, size: int) -> None:
    first = octets(size)[:CHUNK_SIZE]
    values = {
        "id": queue_id,
        "other": first[:-1] + bytes([first[-1] ^ 1]),
        "short": first[:-1],
        "last": (size - 1) // CHUNK_SIZE,
    }
    write(queue, statement, **{name: value for name, value in values.items() if f":{name}" in statement})


def test_damaged_content_can_be_looked_at_as_it_is(queue: Queue) -> None:
    queue_id = accept(queue, content=octets(2 * CHUNK_SIZE))
    write(queue, "DELETE FROM chunk WHERE message_id = :id AND position = 0", id=queue_id)

    assert b"".join(queue.content(queue_id).result().as_stored()) == octets(2 * CHUNK_SIZE)[CHUNK_SIZE:]


@pytest.mark.parametrize("size", [50_000, CHUNK_SIZE + 50_000])
def test_a_page_of_the_file_that_cannot_be_read_harms_no_other_message(tmp_path: Path, size: int) -> None:
    path = tmp_path / "queue.db"
    queue = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)
    sound, damaged = accept(queue, content=octets(30_000)), accept(queue, content=octets(size))
    queue.close()
    break_page_chain(path, octets(size)[20_000:20_100])

    queue = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)
    found = queue.contents([sound, damaged]).result()
    assert b"".join(found[sound].chunks()) == octets(30_000)
    with pytest.raises(Damaged, match=damaged):
        list(found[damaged].chunks())
    assert content(queue, accept(queue, content=octets(9))) == octets(9)
    queue.close()


def break_page_chain(path: Path, inside: bytes) -> None:
    """Give the page that holds these octets a successor that does not exist (sqlite.org/fileformat2.html, 1.6)."""
    with sqlite3.connect(path) as connection:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    where = path.read_bytes().index(inside) // page_size * page_size
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"\x7f\xff\xff\xff", where)
    os.close(descriptor)


def test_bytes_content_of_nothing_has_no_chunk(queue: Queue) -> None:
    assert list(BytesContent(b"").chunks()) == []
    assert chunks_stored(queue, accept(queue, content=b"")) == []
