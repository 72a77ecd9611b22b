"""What is known of recipients, the first tables: address_list, listed_address, lesson, knowledge_revision.

Written out rather than made from the metadata: a migration says what the schema was on its day.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "address_list",
        sa.Column("primary", sa.String, primary_key=True),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("addresses", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "listed_address",
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("domain", sa.String, nullable=False),
        sa.Column("local", sa.String, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("primary", "domain", "local"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lesson",
        sa.Column("primary", sa.String, nullable=False),
        sa.Column("domain", sa.String, nullable=False),
        sa.Column("local", sa.String, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("learned_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("primary", "domain", "local", "source"),
        sqlite_with_rowid=False,
    )
    op.create_index("lesson_learned", "lesson", ["learned_at"])
    op.create_table(
        "knowledge_revision",
        sa.Column("primary", sa.String, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
