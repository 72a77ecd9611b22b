"""The table of samples, beside the queue's in the same database, with migrations of its own.

A row for each primary and five minutes, of a day: what a page about last night must have, a restart in that night
included.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table

from mxqueue.migrate import Migrations
from mxqueue.schema import UtcMicros

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", "published_version")

metadata = MetaData()

queue_sample = Table(
    "queue_sample",
    metadata,
    Column("at", UtcMicros, primary_key=True),
    Column("primary", String, primary_key=True),
    Column("messages", Integer, nullable=False),
    Column("oldest_age_seconds", Integer, nullable=False),
)
