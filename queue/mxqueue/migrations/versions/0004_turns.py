"""The domain of each recipient by itself, and an index by it: the domains of a route take turns.

The domain is what stands behind the last "@" of the forward-path; where there is none it is the whole.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PENDING = sa.text("state = 'pending'")
_DOMAIN = {
    # What is left of the path when everything behind its last "@" is trimmed away is as long as what stands before.
    "sqlite": "lower(substr(forward_path, length(rtrim(forward_path, replace(forward_path, '@', ''))) + 1))",
    "postgresql": "lower(regexp_replace(forward_path, '^.*@', ''))",
}


def upgrade() -> None:
    op.add_column("recipient", sa.Column("domain", sa.String, nullable=False, server_default=""))
    dialect = op.get_bind().dialect.name
    # What has ended is claimed no more, but for what is kept and may be delivered once more.
    wanted = sa.text("state IN ('pending', 'held', 'delivered')")
    recipient = sa.table("recipient", sa.column("domain"))
    op.execute(sa.update(recipient).values(domain=sa.text(_DOMAIN[dialect])).where(wanted))
    op.create_index(
        "recipient_turn",
        "recipient",
        ["route", "domain", "not_before", "message_id"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
