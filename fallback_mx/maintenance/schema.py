"""The tables of maintenance, beside the queue's in the same database, with migrations of their own.

Rows are only added: what is cancelled has a row that says so.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, String, Table

from mxqueue.migrate import Migrations
from mxqueue.schema import UtcMicros

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", "maintenance_version")

metadata = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

announcement = Table(
    "maintenance",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    # "" is every primary.
    Column("primary", String, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("start", UtcMicros, nullable=False),
    Column("time_zone", String, nullable=False),
    Column("days", Integer, nullable=False),
    Column("length_micros", BigInteger, nullable=False),
    Column("rule", String, nullable=False),
    # RFC 3339 times, with spaces between.
    Column("extra", String, nullable=False),
    Column("without", String, nullable=False),
    Column("announced_at", UtcMicros),
    Column("reason", String, nullable=False),
    Column("author", String, nullable=False),
    Column("recorded_at", UtcMicros, nullable=False),
    Column("uid", String, nullable=False, index=True),
    Column("sequence", BigInteger, nullable=False),
)

cancellation = Table(
    "maintenance_cancellation",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("maintenance_id", _NUMBER, ForeignKey("maintenance.id"), nullable=False, index=True),
    Column("since", UtcMicros, nullable=False),
    # None is all of its windows.
    Column("start", UtcMicros),
    Column("reason", String, nullable=False),
    Column("author", String, nullable=False),
    Column("recorded_at", UtcMicros, nullable=False),
)
