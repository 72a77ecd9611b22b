"""What senders ask for by RFC 3461: RET and ENVID of a message, NOTIFY and ORCPT of a recipient.

Mail that is queued already asked for nothing that is still known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("message", sa.Column("ret", sa.String(4), nullable=False, server_default=""))
    op.add_column("message", sa.Column("envid", sa.String, nullable=False, server_default=""))
    op.add_column("recipient", sa.Column("notify", sa.String, nullable=False, server_default=""))
    op.add_column("recipient", sa.Column("orcpt", sa.String, nullable=False, server_default=""))
