"""What is charged, and money itself: decimal, to the cent.

Pure. Every amount of a bill is rounded by itself, half a cent up; a credit is rounded up to the next cent, which is
toward the customer. Sums are sums of what is printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

CENT = Decimal("0.01")
HUNDRED = Decimal(100)
NOTHING = Decimal("0.00")
USUAL_ZONE = ZoneInfo("UTC")


class Storage(StrEnum):
    """What is included is for all users together, or for each alone."""

    POOLED = "pooled"
    PER_USER = "per_user"


@dataclass(frozen=True, slots=True)
class Product:
    """One product of which a user is charged so much a month."""

    name: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class Tariff:
    """`storage_of` is the product whose users have storage with it: the first one where it is "".

    A discount of `both_discount_percent` is for users of both products, where there are two. Percentages are of a
    hundred, storage is in GB.
    """

    products: tuple[Product, ...]
    currency: str = "EUR"
    both_discount_percent: Decimal = Decimal(10)
    storage: Storage = Storage.POOLED
    storage_of: str = ""
    included_gb_per_user: Decimal = Decimal(1)
    price_per_gb: Decimal = Decimal("1.50")
    due_days: int = 21
    tax_percent: Decimal = Decimal(0)
    zone: ZoneInfo = USUAL_ZONE

    @property
    def with_storage(self) -> str:
        return self.storage_of or (self.products[0].name if self.products else "")


def rounded(amount: Decimal) -> Decimal:
    """To the cent, half a cent up."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def rounded_up(amount: Decimal) -> Decimal:
    """To the cent, any part of one up."""
    return amount.quantize(CENT, ROUND_CEILING)
