"""Statements that are compiled once: what keeps their values in the right places."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, create_engine, insert, select
from sqlalchemy.exc import IntegrityError

from mxqueue.among import among_bound
from mxqueue.prepared import Prepared, texts
from mxqueue.schema import chunk, metadata


def test_a_constant_that_would_want_a_place_of_its_own_is_refused() -> None:
    with pytest.raises(AssertionError, match="position"):
        Prepared(select(chunk.c.octets).where(chunk.c.position == 0, chunk.c.message_id == bindparam("id")), "id")


def test_a_name_that_the_statement_does_not_have_is_refused() -> None:
    with pytest.raises(AssertionError, match="named"):
        Prepared(select(chunk.c.octets).where(chunk.c.message_id == bindparam("id")), "id", "other")


def test_names_in_another_order_than_the_statement_has_them_are_refused() -> None:
    statement = select(chunk.c.octets).where(chunk.c.message_id == bindparam("a"), chunk.c.position == bindparam("b"))
    with create_engine("sqlite://").connect() as connection, pytest.raises(AssertionError, match="'b', 'a'"):
        Prepared(statement, "b", "a").one(connection, 1, "x")


def test_rows_go_in_and_come_out_by_a_list_of_keys() -> None:
    put = Prepared(
        insert(chunk).values(message_id=bindparam("id"), position=bindparam("at"), octets=bindparam("octets")),
        *("id", "at", "octets"),
    )
    get = Prepared(select(chunk.c.octets).where(among_bound(chunk.c.message_id, "ids")), "ids")
    with create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection, tables=[chunk])
        put.run(connection, [("a", 0, b"first"), ("b", 0, b"second"), ("c", 0, b"third")])
        put.run(connection, [])
        found = {row[0] for row in get.one(connection, texts(connection, ["a", "c", "none"]))}
    assert found == {b"first", b"third"}


def test_what_the_driver_raises_comes_out_as_sqlalchemy_has_it() -> None:
    put = Prepared(
        insert(chunk).values(message_id=bindparam("id"), position=bindparam("at"), octets=bindparam("octets")),
        *("id", "at", "octets"),
    )
    with create_engine("sqlite://").connect() as connection:
        metadata.create_all(connection, tables=[chunk])
        with pytest.raises(IntegrityError, match="UNIQUE"):
            put.run(connection, [("a", 0, b"first"), ("a", 0, b"again")])
