"""Reads what a bill is made of, from CSV or TOML: users, changes of their number, storage, prices, whose it is.

Everything that is wrong with a file is told at once, each with its line or place, and nothing of it is used then. The
forms are described in docs/invoice.md.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from fallback_mx.billing.tariff import Product
from fallback_mx.billing.users import Change, User
from fallback_mx.visible import visible

MAX_OCTETS = 50_000_000
MOST = 10_000_000
KINDS = ("user", "alias", "domain", "list")
_USER_COLUMNS = frozenset({"user", "product", "created", "deleted", "kind", "active", "storage_gb"})
_CHANGE_COLUMNS = frozenset({"at", "product", "created", "deleted"})
_TABLES = frozenset({"account", "product", "user", "change", "storage"})


class RecordsError(Exception):
    """What cannot be billed, with everything that is wrong with it: a line for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Records:
    """`storage_gb` is by month ("2026-10"). `products` are empty where the file leaves prices to the configuration."""

    users: tuple[User, ...] = ()
    changes: tuple[Change, ...] = ()
    storage_gb: Mapping[str, Decimal] = field(default_factory=dict)
    products: tuple[Product, ...] = ()
    account: Mapping[str, str] = field(default_factory=dict)


def read(octets: bytes, zone: ZoneInfo, only_product: str | None = None, *, is_toml: bool = False) -> Records:
    """Times without a zone are those of `zone`; `only_product` is meant where none is named. Raises RecordsError."""
    if len(octets) > MAX_OCTETS:
        raise RecordsError([f"is larger than {MAX_OCTETS // 1_000_000} MB"])
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordsError([f"is not UTF-8 text (at octet {error.start})"]) from None
    reader = _Reader(zone, only_product)
    found = reader.toml(text) if is_toml else reader.csv(text)
    problems = [*reader.problems, *_twice(found.users)]
    if problems:
        raise RecordsError(problems)
    return found


class _Reader:
    def __init__(self, zone: ZoneInfo, only_product: str | None) -> None:
        self.problems: list[str] = []
        self._zone = zone
        self._only_product = only_product

    def csv(self, text: str) -> Records:
        heading = text.partition("\n")[0]
        delimiter = ";" if ";" in heading and "," not in heading else ","
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        try:
            columns = {str(name).strip().lower() for name in rows.fieldnames or ()}
            is_change = "at" in columns
            known = _CHANGE_COLUMNS if is_change else _USER_COLUMNS
            wanted = "at" if is_change else "user"
            if unknown := columns - known:
                raise RecordsError([f"line 1: {', '.join(map(repr, sorted(unknown)))} is no column; {_forms()}"])
            if wanted not in columns:
                raise RecordsError([f"line 1: there is no column user or at; {_forms()}"])
            numbered = [(f"line {rows.line_num}", _cells(row)) for row in rows]
        except csv.Error as error:
            raise RecordsError([f"line {rows.line_num}: {error}"]) from None
        return self._records(() if is_change else numbered, numbered if is_change else ())

    def toml(self, text: str) -> Records:
        try:
            tables = tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            raise RecordsError([f"is not TOML: {error}"]) from None
        if unknown := sorted(set(tables) - _TABLES):
            self.problems.append(
                f"{', '.join(unknown)} is no table of this file; there are {', '.join(sorted(_TABLES))}"
            )
        users, changes = (self._tables(tables, name) for name in ("user", "change"))
        of_tables = self._records(users, changes)
        products = tuple(each for where, row in self._tables(tables, "product") for each in self._product(where, row))
        storage = dict(each for where, row in self._tables(tables, "storage") for each in self._storage(where, row))
        account = tables.get("account", {})
        if not isinstance(account, dict) or not all(isinstance(value, str) for value in account.values()):
            self.problems.append("account: is not a table of texts")
            account = {}
        return Records(of_tables.users, of_tables.changes, storage, products, account)

    def _tables(self, tables: Mapping[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
        found = tables.get(name, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.problems.append(f"{name}: write [[{name}]], once for each")
            return []
        return [(f"{name}[{index}]", each) for index, each in enumerate(found)]

    def _records(
        self, users: Iterable[tuple[str, dict[str, Any]]], changes: Iterable[tuple[str, dict[str, Any]]]
    ) -> Records:
        return Records(
            tuple(user for where, row in users for user in self._user(where, row)),
            tuple(change for where, row in changes for change in self._change(where, row)),
        )

    def _user(self, where: str, row: dict[str, Any]) -> list[User]:
        """One for each product; none for what is not counted."""
        try:
            _only(row, _USER_COLUMNS)
            if (kind := str(row.get("kind") or "user").lower()) not in KINDS:
                raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
            if kind != "user":
                return []
            name = str(row.get("user") or "").strip()
            if not name:
                raise ValueError("user is empty")
            created, deleted = self._moment(row, "created"), self._moment(row, "deleted")
            if created is not None and deleted is not None and deleted < created:
                raise ValueError("it is deleted before it is created")
            storage = None if row.get("storage_gb") in (None, "") else number(row["storage_gb"], "storage_gb")
            names = row["product"] if isinstance(row.get("product"), list) else [row.get("product")]
            # What a user of two products stores is stored once.
            return [
                User(name, self._product_of(each), created, deleted, storage if index == 0 else None, where)
                for index, each in enumerate(names)
            ]
        except ValueError as error:
            self.problems.append(f"{where}: {visible(str(error))}")
            return []

    def _change(self, where: str, row: dict[str, Any]) -> list[Change]:
        try:
            _only(row, _CHANGE_COLUMNS)
            at = self._moment(row, "at")
            if at is None:
                raise ValueError("at is empty")
            created, deleted = (_count(row.get(name), name) for name in ("created", "deleted"))
            if bool(created) == bool(deleted):
                raise ValueError("write created or deleted, and a row for each in the order in which it happened")
            return [Change(at, self._product_of(row.get("product")), created - deleted, where)]
        except ValueError as error:
            self.problems.append(f"{where}: {visible(str(error))}")
            return []

    def _product(self, where: str, row: dict[str, Any]) -> list[Product]:
        try:
            _only(row, frozenset({"name", "price"}))
            return [Product(self._product_of(row.get("name")), number(row.get("price"), "price"))]
        except ValueError as error:
            self.problems.append(f"{where}: {visible(str(error))}")
            return []

    def _storage(self, where: str, row: dict[str, Any]) -> list[tuple[str, Decimal]]:
        try:
            _only(row, frozenset({"month", "gb"}))
            month = str(row.get("month", ""))
            datetime.strptime(month, "%Y-%m")  # noqa: DTZ007 - a month has no zone
            return [(month, number(row.get("gb"), "gb"))]
        except ValueError as error:
            self.problems.append(f"{where}: {visible(str(error))}")
            return []

    def _product_of(self, value: object) -> str:
        name = str(value or self._only_product or "").strip()
        if not name:
            raise ValueError("product is empty")
        return name

    def _moment(self, row: Mapping[str, Any], name: str) -> datetime | None:
        value = row.get(name)
        if value is None or value == "":
            return None
        try:
            moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"{name} {value!r} is not a day or a time, such as 2026-10-05T09:30:00Z") from None
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime.combine(moment, time(0))
        if not isinstance(moment, datetime) or not 1900 <= moment.year <= 9000:
            raise ValueError(f"{name} {value!r} is not a day or a time")
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=self._zone)


def _twice(users: Iterable[User]) -> list[str]:
    """A user of a product stands there twice at a time: it would be charged twice."""
    problems: list[str] = []
    lives: dict[tuple[str, str], list[User]] = {}
    for user in users:
        lives.setdefault((user.name.casefold(), user.product), []).append(user)
    for several in lives.values():
        several.sort(key=lambda user: user.created.timestamp() if user.created is not None else float("-inf"))
        for one, other in pairwise(several):
            if one.deleted is None or other.created is None or other.created < one.deleted:
                problems.append(f"{other.source}: {visible(other.name)!r} exists already by {one.source}")
    return problems


def _cells(row: Mapping[str | None, Any]) -> dict[str, Any]:
    return {str(name).strip().lower(): value for name, value in row.items() if name is not None}


def _only(row: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(set(row) - known):
        raise ValueError(f"{', '.join(unknown)} is not known here; there are {', '.join(sorted(known))}")


def number(value: object, name: str) -> Decimal:
    """An amount that is not negative, exactly as it is written. Raises ValueError."""
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"{name} {value!r} is not a number such as 4.50") from None
    if isinstance(value, bool) or not found.is_finite() or not 0 <= found <= MOST:
        raise ValueError(f"{name} {value!r} is not between 0 and {MOST}")
    if isinstance(exponent := found.normalize().as_tuple().exponent, int) and exponent < -6:
        raise ValueError(f"{name} {value!r} has more than six decimals")
    return found


def _count(value: object, name: str) -> int:
    found = Decimal(0) if value in (None, "") else number(value, name)
    if found != int(found):
        raise ValueError(f"{name} {value!r} is not a whole number")
    return int(found)


def _forms() -> str:
    return "write user,product,created,deleted or at,product,created,deleted"
