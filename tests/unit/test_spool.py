"""Content between the wire and the commit: in memory up to 1 MiB, then in a file that nobody can find."""

from __future__ import annotations

import os
import random
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxqueue import BytesContent, Damaged, Spool, SpoolMemory, StoredContent
from mxqueue.model import CHUNK_SIZE
from mxqueue.spool import MEMORY_LIMIT

LARGE = random.Random(1).randbytes(2 * CHUNK_SIZE + 7)


def spooled(directory: Path, octets: bytes, step: int = 65_536) -> Spool:
    spool = Spool(directory)
    for start in range(0, len(octets), step):
        spool.write(octets[start : start + step])
    return spool


def open_files(directory: Path) -> list[str]:
    """What this process has open in the directory, names that are gone included."""
    links = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return [link for link in links if link.startswith(str(directory))]


def is_link_to(link: Path, name: str) -> bool:
    return link.is_symlink() and str(link.readlink()) == name


@pytest.mark.parametrize("size", [0, 1, MEMORY_LIMIT - 1, MEMORY_LIMIT, MEMORY_LIMIT + 1, len(LARGE)])
def test_a_spool_gives_back_what_was_written(tmp_path: Path, size: int) -> None:
    with spooled(tmp_path, LARGE[:size]) as spool:
        assert b"".join(spool.chunks()) == LARGE[:size]
        assert (spool.size, spool.sha256) == (size, sha256(LARGE[:size]).digest())


@given(st.lists(st.binary(max_size=50)), st.lists(st.binary(max_size=50)))
def test_a_spool_takes_pieces_of_any_size_and_may_be_read_in_between(before: list[bytes], behind: list[bytes]) -> None:
    with Spool() as spool:
        for piece in before:
            spool.write(piece)
        assert b"".join(spool.chunks()) == b"".join(before)
        for piece in behind:
            spool.write(piece)
        assert b"".join(spool.chunks()) == b"".join(before + behind)
        assert spool.sha256 == sha256(b"".join(before + behind)).digest()


def test_chunks_are_of_one_mebibyte_but_for_the_last(tmp_path: Path) -> None:
    with spooled(tmp_path, LARGE) as spool:
        assert [len(each) for each in spool.chunks()] == [CHUNK_SIZE, CHUNK_SIZE, 7]
        assert [len(each) for each in BytesContent(LARGE).chunks()] == [CHUNK_SIZE, CHUNK_SIZE, 7]


def test_chunks_may_be_read_again(tmp_path: Path) -> None:
    with spooled(tmp_path, LARGE) as spool:
        assert list(spool.chunks()) == list(spool.chunks())


def test_what_fits_in_memory_touches_no_file(tmp_path: Path) -> None:
    with spooled(tmp_path, LARGE[:MEMORY_LIMIT]):
        assert open_files(tmp_path) == []


def test_a_large_spool_has_a_file_without_a_name(tmp_path: Path) -> None:
    with spooled(tmp_path, LARGE):
        assert len(open_files(tmp_path)) == 1
        assert list(tmp_path.iterdir()) == []


def test_a_closed_spool_leaves_nothing_open(tmp_path: Path) -> None:
    spooled(tmp_path, LARGE).close()

    assert open_files(tmp_path) == []


def test_a_directory_that_cannot_be_written_shows_at_once(tmp_path: Path) -> None:
    with Spool(tmp_path / "missing") as spool:
        spool.write(LARGE[:MEMORY_LIMIT])
        with pytest.raises(OSError, match="missing"):
            spool.write(b"x")


def test_a_spool_that_lost_its_end_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with spooled(tmp_path, LARGE) as spool:
        (name,) = open_files(tmp_path)
        (descriptor,) = [each for each in Path("/proc/self/fd").iterdir() if is_link_to(each, name)]
        os.ftruncate(int(descriptor.name), CHUNK_SIZE + 5)

        with pytest.raises(OSError, match=f"ends at {CHUNK_SIZE + 5} of {len(LARGE)}"):
            list(spool.chunks())


# Memory of all of them ------------------------------------------------------------------------------------------


def test_spools_that_share_a_memory_keep_no_more_than_that_in_it(tmp_path: Path) -> None:
    memory = SpoolMemory(100)
    spools = [Spool(tmp_path, memory) for _ in range(4)]
    for spool in spools:
        spool.write(LARGE[:40])
    assert memory.used == 80
    assert len(open_files(tmp_path)) == 2
    assert [b"".join(spool.chunks()) for spool in spools] == [LARGE[:40]] * 4
    for spool in spools:
        spool.close()


def test_a_spool_that_grows_beyond_the_memory_gives_back_what_it_had_of_it(tmp_path: Path) -> None:
    memory = SpoolMemory(100)
    with Spool(tmp_path, memory) as spool:
        spool.write(LARGE[:80])
        spool.write(LARGE[80:160])
        assert memory.used == 0
        assert b"".join(spool.chunks()) == LARGE[:160]
        assert spool.sha256 == sha256(LARGE[:160]).digest()


def test_a_closed_spool_has_given_its_memory_back_and_does_so_once() -> None:
    memory = SpoolMemory(100)
    spool = Spool(None, memory)
    spool.write(b"x" * 60)
    spool.close()
    spool.close()
    assert memory.used == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=60), st.integers(0, 120))
def test_whatever_is_written_and_closed_the_memory_is_never_exceeded(writes: list[tuple[int, int]], limit: int) -> None:
    memory = SpoolMemory(limit)
    spools = [Spool(None, memory) for _ in range(5)]
    written = [b""] * 5
    for number, size in writes:
        if size == 0:
            spools[number].close()
            spools[number], written[number] = Spool(None, memory), b""
        else:
            spools[number].write(LARGE[:size])
            written[number] += LARGE[:size]
        assert 0 <= memory.used <= limit
    assert [b"".join(spool.chunks()) for spool in spools] == written
    for spool in spools:
        spool.close()
    assert memory.used == 0


# Stored content -------------------------------------------------------------------------------------------------


def stored(pieces: dict[int, bytes], of: bytes) -> StoredContent:
    return StoredContent("01A", len(of), sha256(of).digest(), pieces.get)


def test_stored_content_is_given_out_piece_by_piece() -> None:
    pieces = dict(enumerate(BytesContent(LARGE).chunks()))

    assert list(stored(pieces, LARGE).chunks()) == list(pieces.values())


def test_no_content_needs_no_piece() -> None:
    assert list(stored({}, b"").chunks()) == []


DAMAGED = {
    "missing": ({0: LARGE[:CHUNK_SIZE]}, "chunk 1 is missing"),
    "altered": ({0: b"x" * CHUNK_SIZE, 1: b"tail"}, "does not match its hash"),
    "short": ({0: LARGE[:CHUNK_SIZE], 1: b"tai"}, f"{CHUNK_SIZE + 3} octets stored of {CHUNK_SIZE + 4}"),
    "long": ({0: LARGE[:CHUNK_SIZE], 1: b"tails"}, f"{CHUNK_SIZE + 5} octets stored of {CHUNK_SIZE + 4}"),
    "short in the middle": ({0: b"x", 1: b"tail"}, "5 octets stored"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage_shows_in_place_of_the_last_piece(what: str) -> None:
    pieces, said = DAMAGED[what]
    got = []

    with pytest.raises(Damaged, match=f"01A: .*{said}"):
        got.extend(stored(pieces, LARGE[:CHUNK_SIZE] + b"tail").chunks())

    assert len(got) <= 1
