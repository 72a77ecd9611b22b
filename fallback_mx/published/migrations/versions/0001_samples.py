"""The first table: queue_sample.

Written out rather than made from the metadata: a migration says what the schema was on its day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "queue_sample",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("primary", sa.String, primary_key=True),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("oldest_age_seconds", sa.Integer, nullable=False),
    )
