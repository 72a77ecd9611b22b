"""Queues with nothing in them: to copy the tables is quicker than to make them each time."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from mxqueue import Queue
from mxqueue.migrate import QUEUE, Migrations


def lay(path: Path, migrations: tuple[Migrations, ...] = (QUEUE,)) -> str:
    """The URL of an SQLite queue at this path. Where nothing is yet, one with these tables is put there."""
    if not path.exists():
        path.write_bytes(_empty(migrations))
    return f"sqlite:///{path}"


@cache
def _empty(migrations: tuple[Migrations, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "queue.db"
        Queue.open(f"sqlite:///{path}", node="none", exclusive=True, migrations=migrations).close()
        return path.read_bytes()
