"""How many users a month is charged for: the highest number that existed at any one time in it.

Pure. The number is followed from one change to the next, at every moment and not from day to day: 10 created and 5 of
them deleted are 5, and with 6 created the next day 11, which is the highest; 10 created and 5 added are 15, which stays
the highest when 6 are deleted the next day. So it is neither how many were ever created (16 in the first case), nor how
many there are in the end (9 in the second).

Where several changes carry the same moment (days without a time of day) a list of changes counts in its own order. Of
users with the days of their lives those that leave go before those that come, toward the customer; whoever comes and
goes at one moment was there for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fallback_mx.sla.intervals import Interval


@dataclass(frozen=True, slots=True)
class Change:
    """So many users of a product more, or fewer, at a moment. `source` says where that is written."""

    at: datetime
    product: str
    number: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A user of one product, from when to when: None is always, and still. Whether it is active is of no account."""

    name: str
    product: str
    created: datetime | None
    deleted: datetime | None
    storage_gb: Decimal | None = None
    source: str = ""

    def exists_in(self, period: Interval) -> bool:
        """Whether it was there at any time of the period; one that came and went at a moment of it was."""
        begins = self.created is None or self.created < period.end
        is_momentary = self.created is not None and self.created == self.deleted
        left = self.deleted is not None and (
            self.deleted < period.start if is_momentary else self.deleted <= period.start
        )
        return begins and not left


class CountError(Exception):
    """More users were deleted than there were."""


def highest(changes: Iterable[Change], period: Interval) -> int:
    """The most that existed at any one time of the period. Raises CountError."""
    count = top = 0
    is_untouched = True
    for change in sorted(changes, key=lambda change: change.at):
        if change.at >= period.end:
            break
        if change.at > period.start and is_untouched:
            # They were there when the period began.
            top, is_untouched = count, False
        count += change.number
        if count < 0:
            raise CountError(f"{change.source}: {-change.number} are deleted of {count - change.number}")
        if change.at >= period.start:
            top, is_untouched = max(top, count), False
    return count if is_untouched else top


def changes_of(users: Iterable[User], earliest: datetime) -> list[Change]:
    """The comings and goings of users as changes. `earliest` is when those were there that have no beginning."""
    before, came, after = (
        Counter[tuple[datetime, str]](),
        Counter[tuple[datetime, str]](),
        Counter[tuple[datetime, str]](),
    )
    for user in users:
        created = user.created or earliest
        came[created, user.product] += 1
        if user.deleted is not None:
            (after if user.deleted == created else before)[user.deleted, user.product] += 1
    moments = sorted({at for at, _ in (*before, *came)})
    products = sorted({product for _, product in came})
    return [
        Change(at, product, sign * each[at, product])
        for at in moments
        for sign, each in ((-1, before), (1, came), (-1, after))
        for product in products
        if each[at, product]
    ]


def counts(users: Sequence[User], changes: Sequence[Change], period: Interval) -> dict[str, int]:
    """By product, the number that is charged."""
    every = [*changes, *changes_of(users, min([period.start, *(user.created for user in users if user.created)]))]
    products = dict.fromkeys([*(user.product for user in users), *(change.product for change in changes)])
    return {product: highest((change for change in every if change.product == product), period) for product in products}
