"""The shape of what waits: how many recipients of each domain, in classes of age that double (Postfix's qshape).

One grouped statement, read along the indexes of what is live: its cost follows what waits, and the database hands over
a row for each domain. What is kept in memory are the largest domains and a sum of the others. A message's age is that
of its queue id, which the indexes have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, func, literal_column, select, union_all

from mxqueue.ids import ids_before
from mxqueue.model import LIVE_STATES, RecipientState
from mxqueue.schema import message, recipient

FIRST = timedelta(minutes=5)
CLASSES = 9
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Cut:
    """What to count: `senders` counts messages by the domain of their reverse-path, in place of recipients by theirs.

    The first class of age ends at `first`, each further one at twice the age; `classes` of them, and one without end.
    `largest` is how many domains are counted apart, None for all.
    """

    route: str | None = None
    states: frozenset[RecipientState] = LIVE_STATES
    senders: bool = False
    first: timedelta = FIRST
    classes: int = CLASSES
    largest: int | None = None

    @property
    def ends(self) -> tuple[timedelta, ...]:
        """Where the classes of age end, the one without end left out."""
        return tuple(self.first * 2**power for power in range(self.classes))


@dataclass(frozen=True, slots=True)
class Row:
    """One domain, or several taken together: how many are in each class of age, the last being what is older still."""

    domain: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Shape:
    """The largest domains, the largest first; how many others there are, and what they come to together."""

    ends: tuple[timedelta, ...]
    rows: tuple[Row, ...] = ()
    others: int = 0
    others_counts: tuple[int, ...] = field(default=())

    @property
    def total(self) -> tuple[int, ...]:
        columns = zip(*(row.counts for row in self.rows), self.others_counts, strict=True)
        return tuple(sum(column) for column in columns)


def read(connection: Connection, cut: Cut, now: datetime) -> Shape:
    """The shape as of `now`. What arrived after it counts as new."""
    query = statement(cut, now)
    return _fold(connection.execute(query.execution_options(yield_per=_AT_ONCE)), cut)


def statement(cut: Cut, now: datetime) -> Select[Any]:
    """A row for each domain: its name, all, and how many are younger than each class's end; the largest first."""
    parts = _senders(cut) if cut.senders else _recipients(cut)
    found = union_all(*(_younger(part, cut, now) for part in parts)).subquery()
    sums = [func.sum(column) for column in list(found.c)[1:]]
    return select(found.c[0], *sums).group_by(found.c[0]).order_by(sums[0].desc(), found.c[0])


def _younger(part: Select[Any], cut: Cut, now: datetime) -> Select[Any]:
    """This part with its sums beside the domain. A comparison of ids for each class is all that a row costs."""
    key = recipient.c.message_id if not cut.senders else message.c.id
    sums: list[ColumnElement[int]] = [func.count()]
    sums += [func.count().filter(key >= ids_before(now - end)) for end in cut.ends]
    return part.add_columns(*sums)


def _recipients(cut: Cut) -> list[Select[Any]]:
    # A statement for each state, spelled out and grouped as its index is ordered.
    return [
        _of_route(select(recipient.c.domain), cut)
        .where(literal_column(f"recipient.state = '{state.value}'"))
        .group_by(recipient.c.route, recipient.c.domain)
        for state in sorted(cut.states)
    ]


def _senders(cut: Cut) -> list[Select[Any]]:
    names = ", ".join(f"'{state.value}'" for state in sorted(cut.states))
    waiting = _of_route(select(recipient.c.message_id).distinct(), cut).where(
        literal_column(f"recipient.state IN ({names})")
    )
    ids = waiting.subquery()
    domain = _domain_of_sender()
    return [select(domain).select_from(ids.join(message, message.c.id == ids.c.message_id)).group_by(domain)]


def _domain_of_sender() -> Any:
    """What stands behind the last @ of the reverse-path, in lower case; "" for the null one."""
    path = func.lower(message.c.reverse_path)
    before = func.rtrim(path, func.replace(path, literal_column("'@'"), literal_column("''")))
    return func.substr(path, func.length(before) + literal_column("1"), type_=String)


def _of_route(query: Select[Any], cut: Cut) -> Select[Any]:
    return query if cut.route is None else query.where(recipient.c.route == cut.route)


def _fold(found: Iterable[Sequence[Any]], cut: Cut) -> Shape:
    rows: list[Row] = []
    others = 0
    others_counts = [0] * (cut.classes + 1)
    for domain, *sums in found:
        counts = _classes(*map(int, sums))
        if cut.largest is None or len(rows) < cut.largest:
            rows.append(Row(domain, counts))
        else:
            others += 1
            others_counts = [one + more for one, more in zip(others_counts, counts, strict=True)]
    return Shape(cut.ends, tuple(rows), others, tuple(others_counts))


def _classes(everything: int, *younger: int) -> tuple[int, ...]:
    """From "all, younger than 5, younger than 10" to "below 5, 5 to 10, above"."""
    steps = (0, *younger, everything)
    return tuple(later - earlier for earlier, later in pairwise(steps))
