"""The tables of what was said of outages, beside the queue's in the same database, with migrations of their own.

Rows are only added: what was said once stays, and what takes it back is a row of its own.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Boolean, Column, ForeignKey, Index, MetaData, String, Table, Text

from mxqueue.migrate import Migrations
from mxqueue.schema import UtcMicros

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", "settlement_version")

metadata = MetaData()

annotation = Table(
    "annotation",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("primary", String, nullable=False),
    Column("started_at", UtcMicros, nullable=False),
    Column("ended_at", UtcMicros, nullable=False),
    Column("category", String(32), nullable=False),
    Column("reason", String, nullable=False),
    Column("author", String, nullable=False),
    Column("at", UtcMicros, nullable=False),
    # Once at most: two people who withdraw the same one are told so.
    Column("withdraws", String(26), ForeignKey("annotation.id"), unique=True),
    Index("annotation_primary", "primary", "started_at"),
)

downtime_report = Table(
    "downtime_report",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("primary", String, nullable=False),
    Column("started_at", UtcMicros, nullable=False),
    Column("ended_at", UtcMicros, nullable=False),
    Column("contact", String, nullable=False),
    Column("at", UtcMicros, nullable=False),
    Column("author", String, nullable=False),
    Column("recorded_at", UtcMicros, nullable=False),
    Index("downtime_report_primary", "primary", "started_at"),
)

claim = Table(
    "claim",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("primary", String, nullable=False),
    Column("month", String(7), nullable=False),
    Column("started_at", UtcMicros, nullable=False),
    Column("ended_at", UtcMicros, nullable=False),
    Column("account", String, nullable=False),
    Column("contact", String, nullable=False),
    Column("at", UtcMicros, nullable=False),
    Column("in_arrears", Boolean, nullable=False),
    Column("author", String, nullable=False),
    Column("recorded_at", UtcMicros, nullable=False),
    Index("claim_month", "month", "primary"),
)

claim_decision = Table(
    "claim_decision",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("claim", String(26), ForeignKey("claim.id"), nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("objections", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("author", String, nullable=False),
    Column("at", UtcMicros, nullable=False),
    Index("claim_decision_claim", "claim"),
)

frozen_month = Table(
    "frozen_month",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("primary", String, nullable=False),
    Column("month", String(7), nullable=False),
    Column("content", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("reason", String, nullable=False),
    Column("author", String, nullable=False),
    Column("at", UtcMicros, nullable=False),
    Index("frozen_month_month", "month", "primary"),
)
