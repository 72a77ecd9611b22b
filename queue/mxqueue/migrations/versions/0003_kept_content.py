"""Delivered content that is kept for a while: until when it is, and when each recipient was delivered.

Of what was delivered before nothing is kept, and the moment is in the ledger alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KEPT = sa.text("keep_until IS NOT NULL")


def upgrade() -> None:
    op.add_column("message", sa.Column("keep_until", sa.BigInteger))
    op.add_column("recipient", sa.Column("delivered_at", sa.BigInteger))
    op.create_index("message_kept", "message", ["keep_until"], sqlite_where=_KEPT, postgresql_where=_KEPT)
