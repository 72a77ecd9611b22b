"""The first tables of the settlement: annotation, downtime_report, claim, claim_decision, frozen_month.

Written out rather than made from the metadata: a migration says what the schema was on its day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "annotation",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("category", sa.String(32), nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("withdraws", sa.String(26), sa.ForeignKey("annotation.id"), unique=True),
    )
    op.create_index("annotation_primary", "annotation", ["primary", "started_at"])
    op.create_table(
        "downtime_report",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("contact", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("downtime_report_primary", "downtime_report", ["primary", "started_at"])
    op.create_table(
        "claim",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("contact", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("in_arrears", sa.Boolean, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("claim_month", "claim", ["month", "primary"])
    op.create_table(
        "claim_decision",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("claim", sa.String(26), sa.ForeignKey("claim.id"), nullable=False),
        sa.Column("granted", sa.Boolean, nullable=False),
        sa.Column("objections", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("claim_decision_claim", "claim_decision", ["claim"])
    op.create_table(
        "frozen_month",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("frozen_month_month", "frozen_month", ["month", "primary"])
