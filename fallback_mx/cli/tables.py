"""Tables on a terminal. Where one is too wide for it, a row goes on below itself: narrow, broken columns are no table.

At 80 columns `queue list` has the id, the arrival, the size, the primary and the state in a line, and sender, recipient
and reply in the lines below. Colour is rich's affair, which honours NO_COLOR.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fallback_mx.visible import visible

_STYLES = {"up": "green", "down": "bold red", "falling": "yellow", "rising": "yellow", "held": "yellow"}
_GAP = 2
_INDENT = 4
# A column of prose may be folded down to this; numbers and what is fixed may not.
_NARROWEST = 24


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, whether it has numbers, whether it may be folded, and how wide its widest cell is."""

    heading: str
    is_right: bool
    is_fixed: bool
    width: int

    @property
    def narrowest(self) -> int:
        return self.width if self.is_right or self.is_fixed else min(self.width, _NARROWEST)


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str], fixed: Sequence[str]
) -> None:
    """Rows under a heading, as wide as the terminal is."""
    console = Console(markup=False, highlight=False, emoji=False)
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    found = [
        Column(
            heading,
            heading in right,
            heading in fixed,
            max([cell_len(heading), *(cell_len(row[index]) for row in cells)]),
        )
        for index, heading in enumerate(columns)
    ]
    if sum(column.narrowest + _GAP for column in found) - _GAP <= console.width:
        console.print(_table(found, cells))
    else:
        _print_narrow(console, found, cells)


def _table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.is_right else "left",
            no_wrap=column.is_fixed or column.is_right,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*(Text(cell, _style(column, cell)) for column, cell in zip(columns, row, strict=True)))
    return table


def _print_narrow(console: Console, columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    beside = beside_each_other(columns, console.width)
    headings = [column.heading for column in columns]
    console.print(_line(columns, headings, beside, "bold"))
    for row in cells:
        console.print(_line(columns, row, beside))
        for index, column in enumerate(columns):
            if index not in beside and row[index]:
                below = Text(f"{column.heading.lower()}: ").append(row[index], _style(column, row[index]))
                below.overflow = "fold"
                console.print(Padding(below, (0, 0, 0, _INDENT), expand=False))


def beside_each_other(columns: Sequence[Column], width: int) -> list[int]:
    """Which columns stand in a row's first line: the first, and each further one for which there is still room."""
    beside = [0]
    taken = columns[0].width
    for index, column in enumerate(columns[1:], start=1):
        if taken + _GAP + column.width <= width:
            beside.append(index)
            taken += _GAP + column.width
    return beside


def _line(columns: Sequence[Column], row: Sequence[str], beside: Sequence[int], style: str = "") -> Text:
    line = Text(overflow="fold")
    for index in beside:
        column, cell = columns[index], row[index]
        room = " " * (column.width - cell_len(cell))
        styled = Text(cell, style or _style(column, cell))
        line.append(" " * _GAP if line else "")
        line.append_text(Text(room) + styled if column.is_right else styled + Text(room))
    line.rstrip()
    return line


def _style(column: Column, cell: str) -> str:
    return _STYLES.get(cell, "") if column.heading == "STATE" else ""
