"""The first tables of maintenance: announcements, and what was cancelled of them.

Written out rather than made from the metadata: a migration says what the schema was on its day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "maintenance",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("time_zone", sa.String, nullable=False),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("length_micros", sa.BigInteger, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("extra", sa.String, nullable=False),
        sa.Column("without", sa.String, nullable=False),
        sa.Column("announced_at", sa.BigInteger),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("uid", sa.String, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_maintenance_uid", "maintenance", ["uid"])
    op.create_table(
        "maintenance_cancellation",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("maintenance_id", number, sa.ForeignKey("maintenance.id"), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("start", sa.BigInteger),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_maintenance_cancellation_maintenance_id", "maintenance_cancellation", ["maintenance_id"])
