"""The table of orders, beside the queue's in the same database, with migrations of its own. Rows are only added."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table

from mxqueue.migrate import Migrations
from mxqueue.schema import UtcMicros

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", "orders_version")

metadata = MetaData()

primary_order = Table(
    "primary_order",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("primary", String, nullable=False),
    Column("what", String(16), nullable=False),
    Column("at", UtcMicros, nullable=False),
    Column("until", UtcMicros),
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
    Index("primary_order_latest", "primary", "what", "id"),
)
