"""The book of orders: an operator's commands write into it, every service on the database reads it.

Each call returns a `concurrent.futures.Future`; a write's resolves after its commit. Rows are added and never changed,
so that it can be told later who ordered what, when, and why. Errors are the queue's (`mxqueue.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Connection, func, insert, select

from fallback_mx.orders.schema import primary_order
from fallback_mx.rules.orders import Order, Standing, What, standing

T = TypeVar("T")

Latest = Mapping[str, tuple[Order, ...]]
"""Of each primary the last order of each kind, in the order in which they were given."""

# Any number, as long as nobody else in the database locks by it: "orders" in ASCII.
_LOCK = int.from_bytes(b"orders", "big")


class Run(Protocol):
    """How the queue runs something on a connection: `queue.writer.submit` and `queue.read`."""

    def __call__(self, op: Callable[[Connection], T], /) -> Future[T]: ...


class OrderBook:
    def __init__(self, submit: Run, read: Run) -> None:
        self._submit = submit
        self._read = read

    def give(self, order: Order) -> Future[Standing]:
        """Put an order on record; what stood before it."""

        def op(connection: Connection) -> Standing:
            if connection.dialect.name == "postgresql":
                # Whoever has seen a number has seen all before it: two writers go one after the other.
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            before = standing(_latest(connection).get(order.primary, ()), order.at)
            connection.execute(
                insert(primary_order).values(
                    primary=order.primary,
                    what=order.what.value,
                    at=order.at,
                    until=order.until,
                    actor=order.actor,
                    reason=order.reason,
                )
            )
            return before

        return self._submit(op)

    def number(self) -> Future[int]:
        """The number of the last order: whoever has seen it need not read them again."""
        return self._read(lambda connection: connection.scalar(select(func.max(primary_order.c.id))) or 0)

    def latest(self) -> Future[Latest]:
        """All from which it follows what stands."""
        return self._read(_latest)

    def standing(self, now: datetime) -> Future[dict[str, Standing]]:
        """What each primary is under; those under nothing may be missing."""

        def op(connection: Connection) -> dict[str, Standing]:
            return {primary: standing(orders, now) for primary, orders in _latest(connection).items()}

        return self._read(op)


def _latest(connection: Connection) -> dict[str, tuple[Order, ...]]:
    last = select(func.max(primary_order.c.id)).group_by(primary_order.c.primary, primary_order.c.what)
    rows = connection.execute(select(primary_order).where(primary_order.c.id.in_(last)).order_by(primary_order.c.id))
    found: dict[str, tuple[Order, ...]] = {}
    for row in rows:
        order = Order(row.primary, What(row.what), row.at, row.until, row.actor, row.reason)
        found[row.primary] = (*found.get(row.primary, ()), order)
    return found
