"""The record's first tables: outage, watch.

Written out rather than made from the metadata: a migration says what the schema was on its day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "outage",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("cause_phase", sa.String, nullable=False),
        sa.Column("cause_detail", sa.String, nullable=False),
        sa.Column("confirmed_at", sa.BigInteger),
        sa.Column("recovering_since", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("end_detail", sa.String, nullable=False),
    )
    op.create_index("outage_started", "outage", ["primary", "started_at"])
    op.create_index(
        "outage_open", "outage", ["primary", "node"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_table(
        "watch",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
    )
    op.create_index("watch_ended", "watch", ["primary", "ended_at"])
