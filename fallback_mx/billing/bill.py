"""The bill of a month: lines, discount, storage, credit, tax, total and when it is due.

Pure. A bill is made on the first day of the month after the one that it is for. A credit is of the fees of the month in
which the uptime was missed, without taxes and never more than these. It goes on the bill of that month, which is made
in the next, or on the one after: two billing cycles. A bill never comes to less than nothing; what does not fit on it
is carried to the next while there is one, and is not paid out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from fallback_mx.billing.tariff import HUNDRED, NOTHING, Product, Storage, Tariff, rounded, rounded_up

# The bill of the month itself, and the next.
CYCLES = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is charged, or taken off. `how` is the arithmetic in words."""

    what: str
    quantity: Decimal
    price: Decimal
    amount: Decimal
    how: str = ""


@dataclass(frozen=True, slots=True)
class Fees:
    """What a month costs, without credit and tax. `storage_gb` is what is used, `billed_gb` what of it is charged."""

    users: Mapping[str, int]
    with_both: int
    storage_gb: Decimal
    included_gb: Decimal
    billed_gb: Decimal
    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        return sum((line.amount for line in self.lines), NOTHING)


@dataclass(frozen=True, slots=True)
class Granted:
    """A credit that was granted for a month ("2026-10"), the fees of which were so much. `source` says by what."""

    month: str
    percent: Decimal
    fees: Decimal
    source: str = ""

    @property
    def amount(self) -> Decimal:
        return min(self.fees, rounded_up(self.fees * self.percent / HUNDRED))


@dataclass(frozen=True, slots=True)
class Applied:
    """What becomes of a credit on one bill: `carried` to the next one, or `lapsed` where there is none for it."""

    credit: Granted
    applied: Decimal
    carried: Decimal
    lapsed: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    month: str
    made_on: date
    due_on: date
    fees: Fees
    credits: tuple[Applied, ...]
    tax_percent: Decimal

    @property
    def credit(self) -> Decimal:
        return sum((each.applied for each in self.credits), NOTHING)

    @property
    def net(self) -> Decimal:
        return self.fees.total - self.credit

    @property
    def tax(self) -> Decimal:
        return rounded(self.net * self.tax_percent / HUNDRED)

    @property
    def total(self) -> Decimal:
        return self.net + self.tax


def fees(tariff: Tariff, users: Mapping[str, int], storage_gb: Sequence[Decimal]) -> Fees:
    """`users` are the numbers that are charged, by product. `storage_gb` is what all use, or what each user uses where
    the tariff has it for each."""
    lines = [_of_users(product, users.get(product.name, 0)) for product in tariff.products]
    with_both = min((users.get(product.name, 0) for product in tariff.products), default=0)
    if len(tariff.products) != 2:
        with_both = 0
    if with_both and tariff.both_discount_percent:
        lines.append(_discount(tariff, with_both))
    included, billed = _storage(tariff, users.get(tariff.with_storage, 0), storage_gb)
    if billed:
        how = f"{billed} GB above what is included, at {tariff.price_per_gb} each"
        lines.append(Line("Storage", billed, tariff.price_per_gb, rounded(billed * tariff.price_per_gb), how))
    return Fees(dict(users), with_both, sum(storage_gb, Decimal(0)), included, billed, tuple(lines))


def _of_users(product: Product, users: int) -> Line:
    how = f"{users} users at {product.price} each: the most that existed at any one time"
    return Line(product.name, Decimal(users), product.price, rounded(users * product.price), how)


def _discount(tariff: Tariff, with_both: int) -> Line:
    both = sum((product.price for product in tariff.products), Decimal(0))
    each = both * tariff.both_discount_percent / HUNDRED
    names = " and ".join(product.name for product in tariff.products)
    how = f"{tariff.both_discount_percent} % of {both} for as many users as have {names}: {with_both}"
    return Line("Discount for both products", Decimal(with_both), -each, -rounded(with_both * each), how)


def _storage(tariff: Tariff, users: int, storage_gb: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """What is included, and what is used above it."""
    included = tariff.included_gb_per_user
    if tariff.storage is Storage.POOLED:
        used = sum(storage_gb, Decimal(0))
        return users * included, max(Decimal(0), used - users * included)
    above = sum((max(Decimal(0), each - included) for each in storage_gb), Decimal(0))
    return users * included, above


def bill(tariff: Tariff, month: str, of_month: Fees, granted: Iterable[Granted] = ()) -> Bill:
    """Raises ValueError for a credit of a month that this bill is not for."""
    made = first_of_next(month)
    left = of_month.total
    applied = []
    for credit in sorted(granted, key=lambda credit: credit.month):
        age = months_between(credit.month, month)
        if not 0 <= age < CYCLES:
            when = "is still to come" if age < 0 else f"was more than {CYCLES} billing cycles ago"
            raise ValueError(f"a credit for {credit.month} does not go on the bill of {month}, {credit.month} {when}")
        taken = min(left, credit.amount)
        rest = credit.amount - taken
        left -= taken
        is_last = age == CYCLES - 1
        applied.append(Applied(credit, taken, NOTHING if is_last else rest, rest if is_last else NOTHING))
    return Bill(month, made, made + timedelta(tariff.due_days), of_month, tuple(applied), tariff.tax_percent)


def first_of_next(month: str) -> date:
    """The first day after a month such as "2026-10"."""
    year, number = map(int, month.split("-"))
    return date(year + number // 12, number % 12 + 1, 1)


def months_between(earlier: str, later: str) -> int:
    (one, first), (other, second) = (map(int, month.split("-")) for month in (earlier, later))
    return (other - one) * 12 + second - first
