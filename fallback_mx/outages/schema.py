"""The tables of the record, beside the queue's in the same database, with migrations of their own.

A primary has at most one open span of a kind (and port) a node, and the database holds that: two services that were
given the same node name are told so by the second one's writes.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, text

from mxqueue.migrate import Migrations
from mxqueue.schema import UtcMicros

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", "outages_version")

metadata = MetaData()

outage = Table(
    "outage",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("primary", String, nullable=False),
    Column("node", String, nullable=False),
    Column("started_at", UtcMicros, nullable=False),
    Column("cause_phase", String, nullable=False),
    Column("cause_detail", String, nullable=False),
    Column("confirmed_at", UtcMicros),
    Column("recovering_since", UtcMicros),
    Column("ended_at", UtcMicros),
    Column("end_detail", String, nullable=False),
    Column("kind", String, nullable=False, server_default="outage"),
    Column("subject", String, nullable=False, server_default=""),
    Column("last_failed_phase", String, nullable=False, server_default=""),
    Column("last_failed_detail", String, nullable=False, server_default=""),
    Column("end_phase", String, nullable=False, server_default=""),
    Column("failures", BigInteger, nullable=False, server_default="1"),
    Column("mail_accepted", BigInteger, nullable=False, server_default="0"),
    Column("mail_delivered", BigInteger, nullable=False, server_default="0"),
    Column("last_good_at", UtcMicros),
    Column("last_failed_at", UtcMicros),
    Index("outage_started", "primary", "started_at"),
    Index(
        "outage_open",
        "primary",
        "node",
        "kind",
        "subject",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

watch = Table(
    "watch",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("primary", String, nullable=False),
    Column("node", String, nullable=False),
    Column("started_at", UtcMicros, nullable=False),
    Column("ended_at", UtcMicros, nullable=False),
    Index("watch_ended", "primary", "ended_at"),
)

gap = Table(
    "gap",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("primary", String, nullable=False),
    Column("node", String, nullable=False),
    Column("started_at", UtcMicros, nullable=False),
    Column("ended_at", UtcMicros, nullable=False),
    Column("cause", String(16), nullable=False),
    Column("detail", String, nullable=False),
    Index("gap_ended", "primary", "ended_at"),
)
