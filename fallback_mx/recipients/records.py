"""What is known of recipients, as it stands in the database: each function runs on a connection it is handed.

Nothing here holds a transaction longer than one bounded piece of work takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, and_, delete, func, or_, select, tuple_, type_coerce, update
from sqlalchemy.dialects import postgresql, sqlite

from fallback_mx.recipients.addresses import Address
from fallback_mx.recipients.schema import address_list, lesson, listed_address, revision
from fallback_mx.rules.recipients import Facts, Lesson, Listing, Source, Verdict

WHOLE_DOMAIN = ""
# A lesson that only repeats the last one is not written again for this long.
REPEAT = timedelta(hours=1)
PIECE = 1000


@dataclass(frozen=True, slots=True)
class ListState:
    """A primary's list: where it came from, how large it is, when it last changed and was last confirmed."""

    primary: str
    origin: str
    generation: int
    addresses: int
    fingerprint: str
    changed_at: datetime
    confirmed_at: datetime


@dataclass(frozen=True, slots=True)
class Learned:
    """A lesson about an address, or about a whole domain where `local` is empty."""

    primary: str
    local: str
    domain: str
    lesson: Lesson

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"


def _upsert(connection: Connection, table: Any) -> Any:
    """An INSERT that can say what to do about a row that is there already."""
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)


# One address ----------------------------------------------------------------------------------------------------


def facts(connection: Connection, primary: str, address: Address, stale_after: timedelta) -> Facts:
    """Everything on record about this address, along the tables' keys."""
    own, whole = _lessons(connection, primary, address)
    return Facts(_listing(connection, primary, address, stale_after), own, whole, address.is_postmaster)


def _listing(connection: Connection, primary: str, address: Address, stale_after: timedelta) -> Listing | None:
    state = list_state(connection, primary)
    if state is None:
        return None
    here = and_(listed_address.c.primary == primary, listed_address.c.domain == address.domain)
    forms = address.listed_forms
    found = set(
        connection.scalars(
            select(listed_address.c.local).where(here, listed_address.c.local.in_([*forms, WHOLE_DOMAIN]))
        )
    )
    speaks = connection.scalar(
        select(listed_address.c.local).where(here, listed_address.c.generation <= state.generation).limit(1)
    )
    return Listing(
        is_listed=not found.isdisjoint(forms),
        is_domain_listed=WHOLE_DOMAIN in found,
        speaks_for_domain=speaks is not None,
        confirmed_at=state.confirmed_at,
        stale_after=stale_after,
    )


def _lessons(connection: Connection, primary: str, address: Address) -> tuple[tuple[Lesson, ...], tuple[Lesson, ...]]:
    rows = connection.execute(
        select(lesson).where(
            lesson.c.primary == primary,
            lesson.c.domain == address.domain,
            lesson.c.local.in_([address.local, WHOLE_DOMAIN]),
        )
    ).all()
    own = tuple(_lesson(row) for row in rows if row.local != WHOLE_DOMAIN)
    return own, tuple(_lesson(row) for row in rows if row.local == WHOLE_DOMAIN)


def _lesson(row: Any) -> Lesson:
    return Lesson(Verdict(row.verdict), Source(row.source), row.learned_at)


# Lessons --------------------------------------------------------------------------------------------------------


def learn(connection: Connection, lessons: Iterable[Learned]) -> None:
    """Put these in place of older ones from the same source. One that repeats a recent one changes nothing."""
    rows = [
        {
            "primary": each.primary,
            "domain": each.domain,
            "local": each.local,
            "source": each.lesson.source.value,
            "verdict": each.lesson.verdict.value,
            "learned_at": each.lesson.learned_at,
        }
        # Two nodes that write the same rows must lock them in the same order.
        for each in sorted(lessons, key=lambda each: (each.primary, each.domain, each.local, each.lesson.source))
    ]
    if not rows:
        return
    statement = _upsert(connection, lesson)
    new = statement.excluded
    says_more = or_(
        lesson.c.verdict != new.verdict,
        func.abs(type_coerce(lesson.c.learned_at, BigInteger) - type_coerce(new.learned_at, BigInteger))
        > REPEAT // timedelta(microseconds=1),
    )
    statement = statement.on_conflict_do_update(
        index_elements=[lesson.c.primary, lesson.c.domain, lesson.c.local, lesson.c.source],
        set_={"verdict": new.verdict, "learned_at": new.learned_at},
        where=says_more,
    )
    connection.execute(statement, rows)


def forget_lessons(connection: Connection, before: datetime, limit: int = PIECE) -> int:
    """Forget up to `limit` lessons from before this moment; how many."""
    old = (
        select(lesson.c.primary, lesson.c.domain, lesson.c.local, lesson.c.source)
        .where(lesson.c.learned_at < before)
        .limit(limit)
    )
    return _delete_lessons(connection, connection.execute(old).all())


def _delete_lessons(connection: Connection, keys: Sequence[Any]) -> int:
    if keys:
        key = tuple_(lesson.c.primary, lesson.c.domain, lesson.c.local, lesson.c.source)
        connection.execute(delete(lesson).where(key.in_([tuple(row) for row in keys])))
    return len(keys)


@dataclass(frozen=True, slots=True)
class Which:
    """Which knowledge is meant: None and empty stand for any."""

    primary: str | None = None
    domain: str | None = None
    verdict: Verdict | None = None
    sources: frozenset[Source] = frozenset()

    def of_lessons(self) -> list[Any]:
        conditions = [lesson.c.primary == self.primary] if self.primary is not None else []
        if self.domain is not None:
            conditions.append(lesson.c.domain == self.domain)
        if self.verdict is not None:
            conditions.append(lesson.c.verdict == self.verdict.value)
        if self.sources:
            conditions.append(lesson.c.source.in_([source.value for source in self.sources]))
        return conditions

    def of_listed(self) -> list[Any]:
        conditions = [listed_address.c.primary == self.primary] if self.primary is not None else []
        if self.domain is not None:
            conditions.append(listed_address.c.domain == self.domain)
        if self.verdict is Verdict.CATCH_ALL:
            conditions.append(listed_address.c.local == WHOLE_DOMAIN)
        if self.verdict is Verdict.GOOD:
            conditions.append(listed_address.c.local != WHOLE_DOMAIN)
        return conditions

    @property
    def has_listed(self) -> bool:
        """Whether what a list holds can be meant at all."""
        return self.verdict is not Verdict.BAD and (not self.sources or Source.LIST in self.sources)


def forget_which(connection: Connection, which: Which, limit: int = PIECE) -> int:
    """Forget up to `limit` of these lessons; how many."""
    found = (
        select(lesson.c.primary, lesson.c.domain, lesson.c.local, lesson.c.source)
        .where(*which.of_lessons())
        .limit(limit)
    )
    keys = connection.execute(found).all()
    for primary in {row.primary for row in keys}:
        bump(connection, primary)
    return _delete_lessons(connection, keys)


def forget_address(connection: Connection, primary: str, local: str, domain: str) -> int:
    """Forget every lesson about one address; how many."""
    bump(connection, primary)
    found = connection.execute(
        delete(lesson).where(lesson.c.primary == primary, lesson.c.domain == domain, lesson.c.local == local)
    )
    return int(found.rowcount)


# A page of what is there ----------------------------------------------------------------------------------------


def page_of_lessons(
    connection: Connection, which: Which, after: tuple[str, str, str, str] | None, limit: int
) -> list[Learned]:
    """Lessons by primary, domain, local part and source; `after` is the key of the last one of the page before."""
    key = tuple_(lesson.c.primary, lesson.c.domain, lesson.c.local, lesson.c.source)
    query = select(lesson).where(*which.of_lessons()).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(key > after)
    return [Learned(row.primary, row.local, row.domain, _lesson(row)) for row in connection.execute(query)]


def page_of_listed(
    connection: Connection, which: Which, after: tuple[str, str, str] | None, limit: int
) -> list[tuple[str, str, str]]:
    """(primary, domain, local) of what lists hold, in that order; `after` is the last one of the page before."""
    key = tuple_(listed_address.c.primary, listed_address.c.domain, listed_address.c.local)
    query = select(*key).where(*which.of_listed()).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(key > after)
    return [(row.primary, row.domain, row.local) for row in connection.execute(query)]


# Lists ----------------------------------------------------------------------------------------------------------


def list_state(connection: Connection, primary: str) -> ListState | None:
    found = connection.execute(select(address_list).where(address_list.c.primary == primary)).mappings().first()
    return None if found is None else ListState(**found)


def list_states(connection: Connection) -> list[ListState]:
    return [ListState(**row) for row in connection.execute(select(address_list)).mappings()]


def add_listed(connection: Connection, primary: str, generation: int, piece: Iterable[tuple[str, str]]) -> None:
    """Add (domain, local) pairs; those that are there already stay as they are."""
    rows = [
        {"primary": primary, "domain": domain, "local": local, "generation": generation}
        for domain, local in sorted(set(piece))
    ]
    if rows:
        connection.execute(_upsert(connection, listed_address).on_conflict_do_nothing(), rows)


def remove_listed(connection: Connection, primary: str, piece: Sequence[tuple[str, str]]) -> None:
    if piece:
        pairs = tuple_(listed_address.c.domain, listed_address.c.local)
        connection.execute(
            delete(listed_address).where(listed_address.c.primary == primary, pairs.in_([tuple(one) for one in piece]))
        )


def put_list_state(connection: Connection, state: ListState) -> bool:
    """Make this the state of the list: from here on it counts. False where another import has come in between: then
    nobody knows which of the two wrote what, and the next one looks at every address."""
    is_next = address_list.c.generation == state.generation - 1
    values = {name: getattr(state, name) for name in ListState.__slots__}
    statement = _upsert(connection, address_list).values(values)
    put = connection.execute(
        statement.on_conflict_do_update(index_elements=[address_list.c.primary], set_=values, where=is_next)
    )
    if put.rowcount == 0:
        unknown = update(address_list).where(address_list.c.primary == state.primary).values(fingerprint="")
        connection.execute(unknown)
    bump(connection, state.primary)
    return bool(put.rowcount)


def confirm_list(connection: Connection, primary: str, now: datetime) -> None:
    """The source has been read and holds what it held before."""
    connection.execute(update(address_list).where(address_list.c.primary == primary).values(confirmed_at=now))
    bump(connection, primary)


def drop_list_state(connection: Connection, primary: str) -> bool:
    """Let the list count no more; its rows are then removed piece by piece. Whether there was one."""
    gone = connection.execute(delete(address_list).where(address_list.c.primary == primary))
    bump(connection, primary)
    return bool(gone.rowcount)


# Changes that memory must not outlive ---------------------------------------------------------------------------


def bump(connection: Connection, primary: str) -> None:
    statement = _upsert(connection, revision).values(primary=primary, number=1)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[revision.c.primary], set_={"number": revision.c.number + 1})
    )


def revisions(connection: Connection) -> dict[str, int]:
    return {row.primary: row.number for row in connection.execute(select(revision))}


def counts(connection: Connection) -> list[tuple[str, str, str, int]]:
    """(primary, source, verdict, how many) of the lessons. Reads the whole table: for people, not for sessions."""
    grouped = select(lesson.c.primary, lesson.c.source, lesson.c.verdict, func.count()).group_by(
        lesson.c.primary, lesson.c.source, lesson.c.verdict
    )
    return [(row[0], row[1], row[2], int(row[3])) for row in connection.execute(grouped)]
