"""A queue that an earlier version made, brought to this one: everything in it is still there and still goes out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from fallback_mx.orders.schema import MIGRATIONS as ORDERS
from fallback_mx.outages.schema import MIGRATIONS as OUTAGES
from fallback_mx.recipients.schema import MIGRATIONS as RECIPIENTS
from mxqueue import Queue, SchemaTooOld
from mxqueue.engine import make_engine
from mxqueue.migrate import QUEUE, Migrations, run_scripts, upgrade
from mxqueue.schema import metadata
from tests.fakes.mail import DELIVERED, LETTER, accept, claim_one, content, settle

ID = "01HZZZZZZZZZZZZZZZZZZZZZZZ"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        (tmp_path / "queue.db").touch()
        return f"sqlite:///{tmp_path}/queue.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = make_engine(url, writes=True)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("migrations", [QUEUE, OUTAGES, RECIPIENTS, ORDERS], ids=lambda each: each.version_table)
def test_the_names_of_the_scripts_say_their_revisions_and_their_order(migrations: Migrations) -> None:
    scripts = ScriptDirectory(str(migrations.location)).walk_revisions()
    assert migrations.revisions == tuple(script.revision for script in scripts)


def make_at(engine: Engine, revision: str) -> None:
    """The tables as they were at this revision."""
    with engine.begin() as connection:
        run_scripts(connection, QUEUE, revision)


FIRST_LETTER = [
    "INSERT INTO message (id, arrived_at, reverse_path, route, size, sha256, client_address, helo, trace, body,"
    " smtputf8, node) VALUES (:id, 0, 'a@sender.test', 'main', :size, :sha256, '', '', :none, '7BIT', false, 'mx2')",
    "INSERT INTO recipient (message_id, position, forward_path, route, arrived_at, state, attempts, not_before,"
    " last_reply) VALUES (:id, 0, 'u@example.test', 'main', 0, 'pending', 3, 0, '451 later')",
    "INSERT INTO chunk (message_id, position, octets) VALUES (:id, 0, :octets)",
]


def test_mail_of_the_first_version_is_delivered_by_this_one(url: str, engine: Engine) -> None:
    make_at(engine, "0001")
    digest = hashlib.sha256(LETTER).digest()
    values = {"id": ID, "size": len(LETTER), "sha256": digest, "none": b"", "octets": LETTER}
    with engine.begin() as connection:
        for statement in FIRST_LETTER:
            names = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), names)
    with pytest.raises(SchemaTooOld, match="0001"):
        Queue.open(url, node="mx2", exclusive=True)

    assert upgrade(engine, QUEUE)

    queue = Queue.open(url, node="mx2", exclusive=True)
    claim = claim_one(queue)
    (recipient,) = claim.message.recipients
    assert (claim.message.id, claim.message.ret, claim.message.envid) == (ID, "", "")
    assert (recipient.attempts, recipient.last_reply, recipient.notify, recipient.orcpt) == (3, "451 later", "", "")
    assert content(queue, ID) == LETTER
    assert settle(queue, claim, DELIVERED) == []
    accept(queue)
    queue.close()


def test_migrations_make_the_tables_that_the_program_reads(engine: Engine) -> None:
    upgrade(engine, QUEUE)

    with engine.connect() as connection:
        ours = set(metadata.tables)
        options = {"include_name": lambda name, kind, _: kind != "table" or name in ours}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
