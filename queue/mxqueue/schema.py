"""The tables of the queue.

A recipient carries its route and its message's time of arrival so that claiming, counting and expiring read one table;
what is to be delivered once more has the moment of that there, from which its lifetime counts again. What is pending
has a partial index of its own: its size follows what waits, not what ever passed through.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
    text,
)

from mxqueue.model import EPOCH

_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since the epoch, exactly. A naive datetime is a mistake and raises TypeError."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment that `to_micros` made this of."""
    return EPOCH + timedelta(0, 0, micros)


class UtcMicros(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as microseconds since the epoch: the same order and precision everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


metadata = MetaData()

message = Table(
    "message",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("arrived_at", UtcMicros, nullable=False),
    Column("reverse_path", String, nullable=False),
    Column("route", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("client_address", String, nullable=False),
    Column("helo", String, nullable=False),
    Column("trace", LargeBinary, nullable=False),
    Column("body", String(16), nullable=False),
    Column("smtputf8", Boolean, nullable=False),
    Column("node", String, nullable=False),
    Column("ret", String(4), nullable=False, server_default=""),
    Column("envid", String, nullable=False, server_default=""),
    # Its content outlives its last recipient until then; nothing where it does not.
    Column("keep_until", UtcMicros),
    Index(
        "message_kept",
        "keep_until",
        sqlite_where=text("keep_until IS NOT NULL"),
        postgresql_where=text("keep_until IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

recipient = Table(
    "recipient",
    metadata,
    Column("message_id", String(26), ForeignKey("message.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("forward_path", String, nullable=False),
    Column("route", String, nullable=False),
    Column("arrived_at", UtcMicros, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", UtcMicros, nullable=False),
    Column("last_reply", String, nullable=False),
    Column("lease_owner", String),
    Column("lease_token", String(26)),
    Column("lease_until", UtcMicros),
    Column("notify", String, nullable=False, server_default=""),
    Column("orcpt", String, nullable=False, server_default=""),
    Column("delivered_at", UtcMicros),
    # Of the forward-path, in lower case.
    Column("domain", String, nullable=False, server_default=""),
    PrimaryKeyConstraint("message_id", "position"),
    Index(
        "recipient_due",
        "route",
        "not_before",
        "message_id",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "recipient_turn",
        "route",
        "domain",
        "not_before",
        "message_id",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "recipient_held",
        "route",
        "message_id",
        sqlite_where=text("state = 'held'"),
        postgresql_where=text("state = 'held'"),
    ),
    sqlite_with_rowid=False,
)

# Large rows stay out of the key's tree: a WITHOUT ROWID table would carry the octets in its inner pages.
chunk = Table(
    "chunk",
    metadata,
    Column("message_id", String(26), ForeignKey("message.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("octets", LargeBinary, nullable=False),
    PrimaryKeyConstraint("message_id", "position"),
)

# No foreign key: a ledger row outlives its message.
ledger = Table(
    "ledger",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", UtcMicros, nullable=False),
    Column("message_id", String(26), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("forward_path", String, nullable=False),
    Column("event", String(16), nullable=False),
    Column("detail", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("node", String, nullable=False),
)
