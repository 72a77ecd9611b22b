"""What the pages of docs/ say of our own tests is true."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
ROWS = [line for line in PAGES["faults.md"].splitlines() if re.match(r"\| \d", line)]


def named(text: str) -> list[str]:
    return re.findall(r"`([\w/]+\.py::\w+)`", text)


@cache
def in_file(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if named(text)])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    pairs = [each.split("::") for each in named(PAGES[page])]
    assert [f"{path}::{name}" for path, name in pairs if name not in in_file(path)] == []


def test_every_fault_names_what_shows_that_it_is_survived_and_has_a_number_of_its_own() -> None:
    assert [row for row in ROWS if not named(row)] == []
    numbers = [row.split("|")[1].strip() for row in ROWS]
    assert len(numbers) == len(set(numbers)) > 40


def test_every_fault_that_a_test_speaks_of_has_a_row() -> None:
    spoken = {
        number
        for path in (ROOT / "tests").rglob("*.py")
        for numbers in re.findall(r"FAULTS ((?:\d+(?:, | and )?)+)", path.read_text(encoding="utf-8"))
        for number in re.findall(r"\d+", numbers)
    }
    assert spoken - {row.split("|")[1].strip() for row in ROWS} == set()
