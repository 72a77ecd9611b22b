"""Schema migrations (alembic): by themselves on an empty database, otherwise only when asked.

Several packages may keep tables in one database; each has its own alembic environment and its own version table.
A database that a newer program wrote is refused rather than guessed at.

The scripts of an environment follow one another in one line and are named by their revisions, `0001_queue.py` and so
on. Where the database stands is asked at every start, of the service and of every command: only when there is something
to migrate is alembic loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, MetaData, func, inspect, select, text

from mxqueue.errors import NoQueue, SchemaTooNew, SchemaTooOld

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext


@dataclass(frozen=True, slots=True)
class Migrations:
    """One alembic environment: where its scripts lie and which table remembers how far they ran."""

    location: Path
    version_table: str

    @property
    def revisions(self) -> tuple[str, ...]:
        """All that this program knows of, the newest first."""
        return _revisions(self.location)

    @property
    def head(self) -> str:
        return self.revisions[0]


@cache
def _revisions(location: Path) -> tuple[str, ...]:
    scripts = (location / "versions").glob("*_*.py")
    return tuple(sorted((script.name.partition("_")[0] for script in scripts), reverse=True))


# Any number, as long as nobody else in the database locks by it: "mxqueue" in ASCII.
_LOCK = int.from_bytes(b"mxqueue", "big")

QUEUE = Migrations(Path(__file__).parent / "migrations", "mxqueue_version")


def current(connection: Connection, migrations: Migrations) -> str | None:
    """The revision the database stands at, None where these tables were never made."""
    if not inspect(connection).has_table(migrations.version_table):
        return None
    # The table's name is a constant of ours, never input.
    row = connection.execute(text(f"SELECT version_num FROM {migrations.version_table}")).first()  # noqa: S608
    return None if row is None else str(row[0])


def check(engine: Engine, migrations: Migrations) -> None:
    """Raise NoQueue, SchemaTooNew or SchemaTooOld unless the database stands at this program's revision."""
    with engine.connect() as connection:
        revision = current(connection, migrations)
    if revision == migrations.head:
        return
    if revision is None:
        raise NoQueue(f"the database has no tables of {migrations.version_table.removesuffix('_version')}")
    _refuse_unknown(revision, migrations)
    raise SchemaTooOld(f"the database is at revision {revision}, this version wants {migrations.head}")


def _refuse_unknown(revision: str, migrations: Migrations) -> None:
    if revision not in migrations.revisions:
        raise SchemaTooNew(f"the database is at revision {revision}, which this version does not know")


def upgrade(engine: Engine, migrations: Migrations) -> bool:
    """Bring the database to this program's revision in one transaction. Whether anything had to be done.

    Raises SchemaTooNew where a newer program has been at it.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two nodes started at once on an empty database: the second waits and finds the tables made.
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        revision = current(connection, migrations)
        if revision == migrations.head:
            return False
        if revision is not None:
            _refuse_unknown(revision, migrations)
        run_scripts(connection, migrations)
    return True


def run_scripts(connection: Connection, migrations: Migrations, revision: str = "head") -> None:
    """Bring the tables up to this revision, in the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations.location).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = migrations.version_table
    command.upgrade(config, revision)


def prepare(engine: Engine, migrations: Migrations) -> None:
    """Create the tables on an empty database, and check the revision of any other."""
    with engine.connect() as connection:
        empty = current(connection, migrations) is None
    if empty:
        upgrade(engine, migrations)
    else:
        check(engine, migrations)


def run(context: EnvironmentContext, metadata: MetaData) -> None:
    """What an alembic env.py of ours does: migrate on the connection it was handed."""
    config = context.config
    context.configure(
        connection=config.attributes["connection"],
        target_metadata=metadata,
        version_table=config.attributes["version_table"],
        # The caller's transaction is the migration's: all of it or nothing.
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()
