"""Spans have a kind and their evidence; a time that nobody watched may say why.

What is on record from before is outages, each with the one failure that is known of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    for name, default in (("kind", "outage"), ("subject", ""), ("last_failed_phase", ""), ("last_failed_detail", "")):
        op.add_column("outage", sa.Column(name, sa.String, nullable=False, server_default=default))
    op.add_column("outage", sa.Column("end_phase", sa.String, nullable=False, server_default=""))
    for name, default in (("failures", "1"), ("mail_accepted", "0"), ("mail_delivered", "0")):
        op.add_column("outage", sa.Column(name, sa.BigInteger, nullable=False, server_default=default))
    for name in ("last_good_at", "last_failed_at"):
        op.add_column("outage", sa.Column(name, sa.BigInteger))
    op.drop_index("outage_open", "outage")
    op.create_index(
        "outage_open",
        "outage",
        ["primary", "node", "kind", "subject"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "gap",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("detail", sa.String, nullable=False),
    )
    op.create_index("gap_ended", "gap", ["primary", "ended_at"])
