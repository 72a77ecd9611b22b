"""The queue's first tables: message, recipient, chunk, ledger.

Written out rather than made from the metadata: a migration says what the schema was on its day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_PENDING = sa.text("state = 'pending'")
_HELD = sa.text("state = 'held'")


def upgrade() -> None:
    op.create_table(
        "message",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("arrived_at", sa.BigInteger, nullable=False),
        sa.Column("reverse_path", sa.String, nullable=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("client_address", sa.String, nullable=False),
        sa.Column("helo", sa.String, nullable=False),
        sa.Column("trace", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.String(16), nullable=False),
        sa.Column("smtputf8", sa.Boolean, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recipient",
        sa.Column("message_id", sa.String(26), sa.ForeignKey("message.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("forward_path", sa.String, nullable=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("arrived_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("last_reply", sa.String, nullable=False),
        sa.Column("lease_owner", sa.String),
        sa.Column("lease_token", sa.String(26)),
        sa.Column("lease_until", sa.BigInteger),
        sa.PrimaryKeyConstraint("message_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "recipient_due",
        "recipient",
        ["route", "not_before", "message_id"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
    op.create_index("recipient_held", "recipient", ["route", "message_id"], sqlite_where=_HELD, postgresql_where=_HELD)
    op.create_table(
        "chunk",
        sa.Column("message_id", sa.String(26), sa.ForeignKey("message.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("octets", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("message_id", "position"),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.String(26), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("forward_path", sa.String, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
    )
    op.create_index("ix_ledger_message_id", "ledger", ["message_id"])
