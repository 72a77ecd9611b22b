"""Prices and terms of bills in the configuration: what a user of each product costs, and what else is charged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from fallback_mx.config_customers import TimeZone
from fallback_mx.config_fields import CountOrZero, Name, Text
from fallback_mx.config_problems import Problem
from fallback_mx.config_unfit import quoted, unfit

MOST = 10_000_000
PLACES = 6


def _amount(value: Any) -> Decimal:
    """Exactly as it is written: in quotes, or as a number, of which its shortest form is meant."""
    write = 'write an amount in quotes, for example "4.50"'
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise unfit(f"{quoted(value)} is not an amount", write)
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        raise unfit(f"{quoted(value)} is not an amount", write) from None
    if not amount.is_finite() or not 0 <= amount <= MOST:
        raise unfit(f"{quoted(value)} is not between 0 and {MOST}", write)
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -PLACES:
        raise unfit(f"{quoted(value)} has more than six decimals", write)
    return amount


def _percent(value: Any) -> Decimal:
    percent = _amount(value)
    if percent > 100:
        raise unfit(f"{quoted(value)} is more than 100", "write a percentage from 0 to 100")
    return percent


Amount = Annotated[Decimal, PlainValidator(_amount), PlainSerializer(str, return_type=str)]
Percent = Annotated[Decimal, PlainValidator(_percent), PlainSerializer(str, return_type=str)]


class Product(BaseModel):
    """What a user of it costs a month, without tax."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(examples=["mail"])
    price: Amount = Field(examples=["4.50"])


class Invoice(BaseModel):
    """What holds for every bill. `storage_of` is None for the first product."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: Text = Field(default="EUR", examples=["EUR"])
    both_discount_percent: Percent = Field(default=Decimal(10), examples=["10"])
    storage: Literal["pooled", "per_user"] = Field(default="pooled", examples=["pooled"])
    storage_of: Name | None = Field(default=None, examples=["mail"])
    included_gb_per_user: Amount = Field(default=Decimal(1), examples=["1"])
    price_per_gb: Amount = Field(default=Decimal("1.50"), examples=["1.50"])
    due_days: CountOrZero = Field(default=21, examples=[21])
    tax_percent: Percent = Field(default=Decimal(0), examples=["0"])
    time_zone: TimeZone = Field(default="UTC", examples=["UTC"])


def of_products(products: Sequence[Mapping[str, Any]], invoice: object) -> list[Problem]:
    """Names that stand twice, and storage that goes with a product that there is none of."""
    problems = []
    names: dict[str, int] = {}
    for index, table in enumerate(products):
        name = table.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            wrong = f"{quoted(name)} is already the name of product[{names[name]}]"
            problems.append(Problem(f"product[{index}].name", wrong, "write another name"))
    whose = invoice.get("storage_of") if isinstance(invoice, dict) else None
    if names and isinstance(whose, str) and whose not in names:
        write = f"write {' or '.join(map(quoted, names))}"
        problems.append(Problem("invoice.storage_of", f"{quoted(whose)} has no [[product]] table", write))
    return problems
