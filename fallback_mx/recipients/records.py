"""What is known of recipients, as it stands in the database: each function runs on a connection it is handed.

Nothing here holds a transaction longer than one bounded piece of work takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, delete, func, or_, select, text, tuple_, type_coerce

from fallback_mx.recipients.addresses import Address
from fallback_mx.recipients.schema import address_list, lesson, listed_address, revision
from fallback_mx.rules.recipients import Facts, Lesson, Listing, Source, Verdict
from mxqueue.model import EPOCH

WHOLE_DOMAIN = ""
# A lesson that only repeats the last one is not written again for this long.
REPEAT = timedelta(hours=1)
PIECE = 1000


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


def upsert(connection: Connection, table: Any) -> Any:
    """An INSERT that can say what to do about a row that is there already."""
    # The dialect in use is loaded; to load the other one as well would only make every start slower.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as into_postgresql

        return into_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as into_sqlite

    return into_sqlite(table)


# One address ----------------------------------------------------------------------------------------------------


# One statement, since each costs a session more than what it finds; as text, since building it costs more than that.
_FACTS = text("""
    SELECT 'list' AS kind, '' AS local, '' AS source, '' AS verdict, generation, confirmed_at AS at
      FROM address_list WHERE "primary" = :primary
    UNION ALL
    SELECT 'listed', local, '', '', generation, 0
      FROM listed_address WHERE "primary" = :primary AND domain = :domain AND local IN (:form, :base, '')
    UNION ALL
    SELECT * FROM (
      SELECT 'domain', '', '', '', each.generation, 0
        FROM listed_address each JOIN address_list whole ON whole."primary" = each."primary"
       WHERE each."primary" = :primary AND each.domain = :domain AND each.generation <= whole.generation LIMIT 1
    ) AS speaking
    UNION ALL
    SELECT 'lesson', local, source, verdict, 0, learned_at
      FROM lesson WHERE "primary" = :primary AND domain = :domain AND local IN (:local, '')
""")


def facts(connection: Connection, primary: str, address: Address, stale_after: timedelta) -> Facts:
    """Everything on record about this address, along the tables' keys."""
    forms = address.listed_forms
    named = {"primary": primary, "domain": address.domain, "local": address.local, "form": forms[0], "base": forms[-1]}
    rows = connection.execute(_FACTS, named).all()
    lessons = [row for row in rows if row.kind == "lesson"]
    return Facts(
        listing=_listing(rows, stale_after),
        lessons=tuple(_raw_lesson(row) for row in lessons if row.local != WHOLE_DOMAIN),
        domain_lessons=tuple(_raw_lesson(row) for row in lessons if row.local == WHOLE_DOMAIN),
        is_postmaster=address.is_postmaster,
    )


def _listing(rows: Sequence[Any], stale_after: timedelta) -> Listing | None:
    state = next((row for row in rows if row.kind == "list"), None)
    if state is None:
        return None
    listed = [row.local for row in rows if row.kind == "listed"]
    return Listing(
        is_listed=any(local != WHOLE_DOMAIN for local in listed),
        is_domain_listed=WHOLE_DOMAIN in listed,
        speaks_for_domain=any(row.kind == "domain" for row in rows),
        confirmed_at=_moment(state.at),
        stale_after=stale_after,
    )


def _raw_lesson(row: Any) -> Lesson:
    return Lesson(Verdict(row.verdict), Source(row.source), _moment(row.at))


def _moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def _lesson(row: Any) -> Lesson:
    return Lesson(Verdict(row.verdict), Source(row.source), row.learned_at)


def refusing(connection: Connection) -> frozenset[str]:
    """The primaries of which there may be something on record that refuses a recipient: a list, or a bad lesson."""
    listed = select(address_list.c.primary)
    taught = select(lesson.c.primary).where(lesson.c.verdict == Verdict.BAD, lesson.c.local != WHOLE_DOMAIN)
    return frozenset(connection.scalars(listed.union(taught)))


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
    statement = upsert(connection, lesson)
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
    key = (lesson.c.primary, lesson.c.domain, lesson.c.local, lesson.c.source)
    query = select(lesson).where(*which.of_lessons()).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(behind(key, after, which))
    return [Learned(row.primary, row.local, row.domain, _lesson(row)) for row in connection.execute(query)]


def behind(key: tuple[Any, ...], after: tuple[str, ...], which: Which) -> Any:
    """The rows behind this key. A column that is fixed stays out of it: SQLite would look for the others in vain."""
    return tuple_(*key[1:]) > after[1:] if which.primary is not None else tuple_(*key) > after


# Changes that memory must not outlive ---------------------------------------------------------------------------


def bump(connection: Connection, primary: str) -> None:
    statement = upsert(connection, revision).values(primary=primary, number=1)
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
