"""The tables of what is known of recipients, beside the queue's in the same database, with migrations of their own.

`listed_address` is what lists hold, in the form in which lists compare. A row carries the generation of the list with
which it came: a list speaks for a domain once the generation that brought the domain is complete. `local` is empty for
the domain as a whole. `lesson` is what the primary said, for the address as it was asked. `revision` counts changes
that somebody else's memory must not outlive.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Index, MetaData, PrimaryKeyConstraint, String, Table

from mxqueue.migrate import Migrations
from mxqueue.schema import UtcMicros

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", "recipients_version")

metadata = MetaData()

address_list = Table(
    "address_list",
    metadata,
    Column("primary", String, primary_key=True),
    Column("origin", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("addresses", BigInteger, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("changed_at", UtcMicros, nullable=False),
    Column("confirmed_at", UtcMicros, nullable=False),
)

listed_address = Table(
    "listed_address",
    metadata,
    Column("primary", String, nullable=False),
    Column("domain", String, nullable=False),
    Column("local", String, nullable=False),
    Column("generation", BigInteger, nullable=False),
    PrimaryKeyConstraint("primary", "domain", "local"),
    sqlite_with_rowid=False,
)

lesson = Table(
    "lesson",
    metadata,
    Column("primary", String, nullable=False),
    Column("domain", String, nullable=False),
    Column("local", String, nullable=False),
    Column("source", String(16), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("learned_at", UtcMicros, nullable=False),
    PrimaryKeyConstraint("primary", "domain", "local", "source"),
    Index("lesson_learned", "learned_at"),
    sqlite_with_rowid=False,
)

revision = Table(
    "knowledge_revision",
    metadata,
    Column("primary", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
