"""Customers and agreements in the configuration: whose a primary is, and what was promised of it.

What an agreement says is no concern of this part: its file is read by whoever settles by it, and by `config check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from fallback_mx.config_fields import Name, Text
from fallback_mx.config_problems import Problem
from fallback_mx.config_unfit import quoted, text_of, unfit

Tables = Sequence[Mapping[str, Any]]


def _time_zone(value: Any) -> str:
    text = text_of(value, "Europe/Prague")
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):
        raise unfit(f"{quoted(text)} is not a time zone", 'write a name such as "Europe/Prague"') from None
    return text


TimeZone = Annotated[str, PlainValidator(_time_zone)]


class Customer(BaseModel):
    """Whom a primary is run for. Without `contacts` anybody may claim for them; `country` has their holidays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(examples=["Example"])
    account: Text | None = Field(default=None, examples=["4711"])
    contacts: tuple[Text, ...] = Field(default=(), examples=[["carol@example.org"]])
    country: Text | None = Field(default=None, examples=["CZ"])
    time_zone: TimeZone = Field(default="UTC", examples=["Europe/Prague"])


def tables_of(raw: Mapping[str, Any], name: str, problems: list[Problem]) -> list[Mapping[str, Any]]:
    """The tables of a kind that there may be none or any number of."""
    tables = raw.get(name, [])
    if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
        return tables
    wrong = "has single brackets" if isinstance(tables, dict) else "is not a table"
    problems.append(Problem(name, wrong, f"write [[{name}]], once for every {name}"))
    return []


def of_customers(customers: Tables, primaries: Tables) -> list[Problem]:
    """Names that stand twice, and primaries of a customer that is none of these. Without any table names are free."""
    problems = []
    names: dict[str, int] = {}
    for index, table in enumerate(customers):
        name = table.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            wrong = f"{quoted(name)} is already the name of customer[{names[name]}]"
            problems.append(Problem(f"customer[{index}].name", wrong, "write another name"))
    for index, table in enumerate(primaries):
        name = table.get("customer")
        if names and isinstance(name, str) and name not in names:
            write = f"write {' or '.join(map(quoted, names))}, or a [[customer]] table with that name"
            problems.append(Problem(f"primary[{index}].customer", f"{quoted(name)} has no [[customer]] table", write))
    return problems
