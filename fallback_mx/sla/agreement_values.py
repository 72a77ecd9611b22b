"""The kinds of value that stand in an agreement's file, each with what to say when one is not right.

A value that is missing or cannot be used adds a flaw and gives a harmless stand-in, so that the rest is looked at too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeVar

from fallback_mx.sla.flaws import Flaw

E = TypeVar("E", bound=StrEnum)

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_MINUTES = 60 * 24 * 366


class Fields:
    """One table of the file. Every key that was asked for is known; `nothing_else` tells of the others."""

    def __init__(self, raw: Mapping[str, Any], key: str, flaws: list[Flaw]) -> None:
        self._raw = raw
        self.key = key
        self._flaws = flaws
        self._asked: list[str] = []

    def __contains__(self, name: str) -> bool:
        if name not in self._asked:
            self._asked.append(name)
        return name in self._raw

    def nothing_else(self) -> None:
        for name in self._raw:
            if name not in self._asked:
                close = get_close_matches(name, self._asked, n=1, cutoff=0.7)
                others = f"write one of {', '.join(self._asked)}, or take it out"
                self._flaw(name, "is not a key of an agreement", f"did you mean {close[0]}?" if close else others)

    def text(self, name: str, example: str) -> str:
        value = self._value(name, f'"{example}"')
        if value is None:
            return ""
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            self._flaw(name, f"{quoted(value)} is not a line of text", f'write {name} = "{example}"')
            return ""
        return value

    def flag(self, name: str) -> bool:
        value = self._value(name, "true")
        if value is not None and not isinstance(value, bool):
            self._flaw(name, f"{quoted(value)} is neither true nor false", f"write {name} = true")
        return value is True

    def whole(self, name: str, example: str, smallest: int, largest: int) -> int:
        value = self._value(name, example)
        if value is None:
            return smallest
        if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
            self._flaw(
                name, f"{quoted(value)} is not a whole number from {smallest} to {largest}", f"write {name} = {example}"
            )
            return smallest
        return value

    def percent(self, name: str, example: str) -> Fraction:
        number = self._number(name, example)
        if number is None:
            return Fraction(0)
        if not 0 <= number <= 100:
            self._flaw(name, f"{quoted(self._raw[name])} is not a percentage", "write a number from 0 to 100")
            return Fraction(0)
        return number

    def minutes(self, name: str, example: str) -> timedelta:
        number = self._number(name, example)
        if number is None:
            return timedelta(0)
        if not 0 <= number <= _LONGEST_MINUTES:
            self._flaw(
                name, f"{quoted(self._raw[name])} is no time that a month or a year has", f"write {name} = {example}"
            )
            return timedelta(0)
        microseconds = number * 60_000_000
        if microseconds.denominator != 1:
            self._flaw(name, f"{quoted(self._raw[name])} is finer than a microsecond", f"write {name} = {example}")
            return timedelta(0)
        return microseconds.numerator * _MICROSECOND

    def time_of_day(self, name: str) -> time:
        value = self._value(name, '"20:00"')
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            if value is not None:
                self._flaw(name, f"{quoted(value)} is not a time of day", f'write {name} = "20:00", in UTC')
            return time(0)
        return time(int(found[1]), int(found[2]))

    def choice(self, name: str, kind: type[E]) -> E:
        return kind(self.one_of(name, [one.value for one in kind]))

    def one_of(self, name: str, known: Sequence[str]) -> str:
        value = self._value(name, f'"{known[0]}"')
        if value is not None and value not in known:
            self._flaw(name, f"{quoted(value)} is not known here", f"write {_either(known)}")
        return value if isinstance(value, str) and value in known else known[0]

    def choices(self, name: str, kind: type[E]) -> list[E]:
        values = self._value(name, "[]")
        if values is not None and not isinstance(values, list):
            self._flaw(name, f"{quoted(values)} is not a list", f'write {name} = ["{next(iter(kind)).value}"], or []')
            return []
        known = [one.value for one in kind]
        chosen = []
        for index, value in enumerate(values or []):
            if value in known:
                chosen.append(kind(value))
            else:
                self._flaw(f"{name}[{index}]", f"{quoted(value)} is not known here", f"write {_either(known)}")
        return chosen

    def table(self, name: str, example: Mapping[str, bool]) -> Fields:
        written = ", ".join(f"{key} = {json.dumps(value)}" for key, value in example.items())
        value = self._value(name, f"{{ {written} }}")
        if value is not None and not isinstance(value, dict):
            self._flaw(name, f"{quoted(value)} is not a table", f"write {name} = {{ {written} }}")
        # One flaw for the table is enough: what it stands in for is whole.
        return Fields(value if isinstance(value, dict) else example, self._full(name), self._flaws)

    def tables(self, name: str) -> Iterator[Fields]:
        value = self._raw.get(name, []) if name in self else []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self._flaw(
                name, "has single brackets, or is no table", f"write [[{name}]] on a line of its own, its keys below"
            )
            return
        for index, one in enumerate(value):
            yield Fields(one, self._full(f"{name}[{index}]"), self._flaws)

    def _number(self, name: str, example: str) -> Fraction | None:
        value = self._value(name, example)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
            self._flaw(name, f"{quoted(value)} is not a number", f"write {name} = {example}")
            return None
        # A Decimal such as 1e999999 would take long as a fraction.
        if abs(Decimal(value)) > 10**9 or Decimal(value) % Decimal("1e-12"):
            self._flaw(name, f"{quoted(value)} is too large or too fine", f"write {name} = {example}")
            return None
        return Fraction(value)

    def _value(self, name: str, example: str) -> Any:
        if name not in self:
            self._flaw(name, "is missing", f"write {name} = {example}")
            return None
        return self._raw[name]

    def _full(self, name: str) -> str:
        return f"{self.key}.{name}" if self.key else name

    def _flaw(self, name: str, wrong: str, write: str) -> None:
        self._flaws.append(Flaw(self._full(name), wrong, write))


def quoted(value: object) -> str:
    """A value as it stands in the file, short enough for a line and with control characters escaped."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _either(known: Sequence[str]) -> str:
    return " or ".join(f'"{one}"' for one in known)
