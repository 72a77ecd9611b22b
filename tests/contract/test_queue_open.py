"""Opening: what is made, what is refused, and what the operator is told."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from mxqueue import AlreadyServed, NoQueue, Queue, QueueError, QueueUnavailable, SchemaTooNew, SchemaTooOld
from mxqueue.engine import make_engine
from mxqueue.migrate import QUEUE, Migrations, upgrade
from tests.fakes.mail import accept

ENVIRONMENT = """
from alembic import context
from mxqueue.migrate import run
from sqlalchemy import MetaData

run(context, MetaData())
"""

REVISION = """
from alembic import op

revision = {revision!r}
down_revision = {before!r}


def upgrade():
    op.execute("CREATE TABLE {revision} (number INTEGER)")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table: for PostgreSQL an empty one, for SQLite a file not yet there."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


def other_migrations(directory: Path, *revisions: str) -> Migrations:
    """Another package's tables in the same database, as far as these revisions go."""
    location = directory / f"to_{revisions[-1]}"
    (location / "versions").mkdir(parents=True)
    (location / "env.py").write_text(ENVIRONMENT)
    for before, revision in zip((None, *revisions), revisions, strict=False):
        script = REVISION.format(revision=revision, before=before)
        (location / "versions" / f"{revision}_tables.py").write_text(script)
    return Migrations(location, "other_version")


def test_a_service_makes_the_tables_where_there_are_none(empty_url: str) -> None:
    queue = Queue.open(empty_url, node="mx2", exclusive=True)
    queue_id = accept(queue)
    queue.close()

    again = Queue.open(empty_url, node="mx2")
    assert [each.id for each in again.list().result()] == [queue_id]
    again.close()


def test_a_look_at_a_queue_that_is_not_there_makes_none(empty_url: str, tmp_path: Path) -> None:
    with pytest.raises(NoQueue) as refused:
        Queue.open(empty_url, node="mx2")

    assert "db migrate" in refused.value.advice
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_an_older_version_is_refused_until_it_is_migrated(empty_url: str, tmp_path: Path) -> None:
    older, newer = other_migrations(tmp_path / "a", "one"), other_migrations(tmp_path / "b", "one", "two")
    Queue.open(empty_url, node="mx2", exclusive=True, migrations=(QUEUE, older)).close()

    for exclusive in (False, True):
        with pytest.raises(SchemaTooOld, match=r"one.*two") as refused:
            Queue.open(empty_url, node="mx2", exclusive=exclusive, migrations=(QUEUE, newer))
        assert "db migrate" in refused.value.advice

    engine = make_engine(empty_url, writes=True)
    assert (upgrade(engine, newer), upgrade(engine, newer)) == (True, False)
    engine.dispose()
    Queue.open(empty_url, node="mx2", exclusive=True, migrations=(QUEUE, newer)).close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(empty_url: str, tmp_path: Path) -> None:
    older, newer = other_migrations(tmp_path / "a", "one"), other_migrations(tmp_path / "b", "one", "two")
    Queue.open(empty_url, node="mx2", exclusive=True, migrations=(QUEUE, newer)).close()

    for exclusive in (False, True):
        with pytest.raises(SchemaTooNew, match="two"):
            Queue.open(empty_url, node="mx2", exclusive=exclusive, migrations=(QUEUE, older))
    engine = make_engine(empty_url, writes=True)
    with pytest.raises(SchemaTooNew, match="two"):
        upgrade(engine, older)
    engine.dispose()
    Queue.open(empty_url, node="mx2", exclusive=True, migrations=(QUEUE, newer)).close()


def test_tables_of_another_package_that_are_missing_are_made_by_a_service(empty_url: str, tmp_path: Path) -> None:
    other = other_migrations(tmp_path / "a", "one")
    Queue.open(empty_url, node="mx2", exclusive=True).close()
    with pytest.raises(NoQueue, match="other"):
        Queue.open(empty_url, node="mx2", migrations=(QUEUE, other))

    Queue.open(empty_url, node="mx2", exclusive=True, migrations=(QUEUE, other)).close()
    Queue.open(empty_url, node="mx2", migrations=(QUEUE, other)).close()


def test_a_queue_may_be_closed_twice(queue: Queue) -> None:
    queue.close()
    queue.close()


# SQLite ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def test_a_second_service_on_one_file_is_refused(path: Path) -> None:
    first = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)

    with pytest.raises(AlreadyServed, match="another service"):
        Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)

    accept(first)
    first.close()
    Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True).close()


def test_a_service_that_was_killed_does_not_keep_the_file(path: Path) -> None:
    code = (
        "import os, sys; from mxqueue import Queue;"
        "Queue.open(sys.argv[1], node='mx2', exclusive=True); print('open', flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{path}"], check=False, stdout=subprocess.PIPE, env=ENV
    )
    assert (killed.returncode, killed.stdout) == (-9, b"open\n")

    Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True).close()


def test_a_failed_opening_lets_go_of_the_file(path: Path) -> None:
    path.write_bytes(b"this is no database, " * 500)
    with pytest.raises(QueueError, match="not a database"):
        Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)

    path.unlink()
    Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True).close()


def test_the_queues_files_are_for_their_owner_alone(path: Path) -> None:
    queue = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)
    accept(queue)

    modes = {each.name: oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()}
    queue.close()

    assert modes == dict.fromkeys(["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"], "0o600")


SETTINGS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "auto_vacuum": 2,
    "wal_autocheckpoint": 0,
}


def test_every_commit_to_a_file_is_synced(path: Path) -> None:
    queue = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)

    def settings(connection: Connection) -> dict[str, object]:
        return {name: connection.scalar(text(f"PRAGMA {name}")) for name in SETTINGS}

    found = queue.writer.submit(settings).result()
    queue.close()

    assert found == SETTINGS


def test_a_reader_of_a_file_cannot_write(path: Path) -> None:
    queue = Queue.open(f"sqlite:///{path}", node="mx2", exclusive=True)
    written = queue.read(lambda connection: connection.execute(text("DELETE FROM ledger")))

    with pytest.raises(QueueError, match="readonly"):
        written.result()
    queue.close()


ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run_as_nobody(code: str, *arguments: str) -> str:
    """The output of this code under a user who may write nowhere: root may write anywhere."""
    drop = "import os\nif os.geteuid() == 0:\n    os.setgid(65534); os.setuid(65534)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{IMPORTS}{drop}{code}", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=ENV,
    )
    return done.stdout + done.stderr


IMPORTS = (
    "import sys\nfrom mxqueue import Queue, QueueError\nfrom mxqueue.sqlite import sqlite_module\nsqlite_module()\n"
)
OPEN = """
try:
    Queue.open(f"sqlite:///{sys.argv[1]}", node="mx2", exclusive=True)
except QueueError as error:
    print(type(error).__name__, error, error.advice, sep=" | ")
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that anybody may come as far as: pytest closes its own, whenever it is started."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


def test_a_directory_that_cannot_be_written_is_named(public: Path) -> None:
    public.chmod(0o555)

    told = run_as_nobody(OPEN, str(public / "queue.db"))

    public.chmod(0o755)
    assert told == (
        f"QueueUnavailable | {public}/queue.db.lock: Permission denied | "
        f"Make {public} a directory that the service's user can write.\n"
    )


READ = OPEN.replace(", exclusive=True", "")


@pytest.mark.parametrize(
    ("code", "directory_mode", "mode", "what"),
    [
        (READ, 0o755, 0o600, "read and write {0}/queue.db"),
        (READ, 0o755, 0o644, "read and write {0}/queue.db"),
        (READ, 0o755, 0o666, "make files in {0}"),
        (READ, 0o700, 0o666, "enter {0}"),
        (OPEN, 0o755, 0o600, "read and write {0}/queue.db.lock"),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_who_may_not_use_the_queues_files_is_named_and_whose_they_are(
    public: Path, code: str, directory_mode: int, mode: int, what: str
) -> None:
    database = public / "home" / "queue.db"
    database.parent.mkdir()
    Queue.open(f"sqlite:///{database}", node="mx2", exclusive=True).close()
    for path in database.parent.iterdir():
        path.chmod(mode)
    database.parent.chmod(directory_mode)
    assert run_as_nobody(code, str(database)) == (
        f"NotPermitted | nobody may not {what.format(database.parent)} | "
        "It belongs to root: run this as root (runuser -u root -- …).\n"
    )


CLOSED = """
import os, pathlib
from mxqueue import permission
os.chmod(sys.argv[1], 0)
try:
    permission.demand(pathlib.Path(sys.argv[1]))
except QueueError as error:
    print(error.advice)
"""


def test_a_file_that_is_ours_and_closed_even_to_us_wants_another_mode(public: Path) -> None:
    database = public / "queue.db"
    database.write_bytes(b"")
    if os.geteuid() == 0:
        os.chown(database, 65534, -1)
    assert run_as_nobody(CLOSED, str(database)) == f"Its mode is 0000: chmod u+rwX {database}.\n"


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueueUnavailable, match="No such file") as refused:
        Queue.open(f"sqlite:///{tmp_path}/missing/queue.db", node="mx2", exclusive=True)

    assert refused.value.advice == f"Make {tmp_path}/missing a directory that the service's user can write."


AFFECTED = """
import sqlite3, sys, types
sqlite3.sqlite_version_info, sqlite3.sqlite_version = (3, 46, 0), "3.46.0"
other = types.ModuleType("pysqlite3.dbapi2")
other.sqlite_version_info, other.sqlite_version = (3, 51, 2), "3.51.2"
package = types.ModuleType("pysqlite3")
package.dbapi2 = other
sys.modules["pysqlite3"] = package if sys.argv[2] == "affected" else None
sys.modules["pysqlite3.dbapi2"] = other if sys.argv[2] == "affected" else None
from mxqueue import Queue, QueueError
"""


@pytest.mark.parametrize(("other", "version"), [("missing", "3.46.0"), ("affected", "3.51.2")])
def test_an_affected_sqlite_is_refused_with_what_to_install(tmp_path: Path, other: str, version: str) -> None:
    arguments = [sys.executable, "-c", AFFECTED + OPEN, str(tmp_path / "queue.db"), other]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, env=ENV)

    assert done.stdout.startswith(f"UnsafeSQLite | SQLite {version}"), done.stderr
    assert "can lose commits" in done.stdout
    assert "pip install 'pysqlite3>=0.6.1'" in done.stdout
