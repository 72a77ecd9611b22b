"""What lists hold, as it stands in the database: each function runs on a connection it is handed.

The state of a list says up to which generation its rows count; rows of the one that is just being written are there
before it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, tuple_, update

from fallback_mx.recipients.records import Which, behind, bump, upsert
from fallback_mx.recipients.schema import address_list, listed_address


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
        connection.execute(upsert(connection, listed_address).on_conflict_do_nothing(), rows)


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
    statement = upsert(connection, address_list).values(values)
    statement = statement.on_conflict_do_update(index_elements=[address_list.c.primary], set_=values, where=is_next)
    was_put = connection.scalar(statement.returning(address_list.c.primary)) is not None
    if not was_put:
        unknown = update(address_list).where(address_list.c.primary == state.primary).values(fingerprint="")
        connection.execute(unknown)
    bump(connection, state.primary)
    return was_put


def confirm_list(connection: Connection, primary: str, now: datetime) -> None:
    """The source has been read and holds what it held before."""
    connection.execute(update(address_list).where(address_list.c.primary == primary).values(confirmed_at=now))
    bump(connection, primary)


def drop_list_state(connection: Connection, primary: str) -> bool:
    """Let the list count no more; its rows are then removed piece by piece. Whether there was one."""
    gone = connection.execute(delete(address_list).where(address_list.c.primary == primary))
    bump(connection, primary)
    return bool(gone.rowcount)


def page_of_listed(
    connection: Connection, which: Which, after: tuple[str, str, str] | None, limit: int
) -> list[tuple[str, str, str]]:
    """(primary, domain, local) of what lists hold, in that order; `after` is the last one of the page before."""
    key = (listed_address.c.primary, listed_address.c.domain, listed_address.c.local)
    query = select(*key).where(*which.of_listed()).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(behind(key, after, which))
    return [(row.primary, row.domain, row.local) for row in connection.execute(query)]
