"""`fallback-mx db migrate|check`: the database's tables. The only commands that may create or change them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, complain
from fallback_mx.cli.opening import migrations, opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group, load_config
from fallback_mx.cli.printing import print_json, say

if TYPE_CHECKING:
    from sqlalchemy import Connection


@click.group()
@config_option
@json_option_of_group
def db() -> None:
    """Create, migrate or check the queue's database.

    \b
    Examples:
      fallback-mx db check
      systemctl stop fallback-mx && fallback-mx db migrate && systemctl start fallback-mx
    """


@db.command(short_help="Bring the database's tables to this version.")
@config_option
@json_option
def migrate(as_json: bool) -> int:
    """Bring the database's tables to this version; an SQLite file that is missing is created.

    Stop the service first: on SQLite a database that is served is refused.

    \b
    Examples:
      fallback-mx db migrate
      fallback-mx db migrate --json
    """
    migrated = _migrate(load_config().storage.url)
    if as_json:
        print_json({"migrated": migrated})
    else:
        say("The database was migrated." if migrated else "The database is up to date, nothing was done.")
    return DONE


def _migrate(url: str) -> bool:
    """Bring every table to this version; whether anything had to be done. Raises QueueError."""
    from mxqueue.causes import classify
    from mxqueue.engine import create_private_file, database_path, lock, make_engine
    from mxqueue.errors import NoQueue, SchemaTooOld
    from mxqueue.migrate import check, upgrade

    path = database_path(url)
    with ExitStack() as held:
        if path is not None:
            create_private_file(path)
            held.enter_context(lock(path))
        try:
            engine = make_engine(url, writes=True)
            held.callback(engine.dispose)
            outdated = []
            for one in migrations():
                try:
                    check(engine, one)
                except (NoQueue, SchemaTooOld):
                    outdated.append(one)
            return sum(upgrade(engine, one) for one in outdated) > 0
        except Exception as error:
            raise classify(error) from error


@db.command(short_help="Check that the database is readable, current and whole.")
@config_option
@json_option
def check(as_json: bool) -> int:
    """Check that the database can be read, has this version's tables, and is whole.

    \b
    Examples:
      fallback-mx db check
      fallback-mx db check --json
    """
    with opened() as (store, _):
        problems = store.read(_integrity).result()
        waiting = sum(one.messages for one in store.count().result())
    if as_json:
        print_json({"ok": not problems, "problems": problems, "messages": waiting})
    elif not problems:
        say(f"The database is sound; messages waiting: {waiting}.")
    for problem in problems:
        complain(f"{problem}. Stop the service and copy the database before anything else.")
    return FAILED if problems else DONE


def _integrity(connection: Connection) -> list[str]:
    """What SQLite finds wrong with its file. A database server checks its own pages."""
    if connection.dialect.name != "sqlite":
        return []
    found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check(20)")]
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [text for text in found if text != "ok"] + [f"{row[0]} has rows of a missing message" for row in orphans[:1]]
