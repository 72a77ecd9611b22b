"""Which databases and which versions of them are taken, and what a person is told of the others."""

from __future__ import annotations

import pytest

from mxqueue import QueueError
from mxqueue.engine import database_path, parse_url
from mxqueue.sqlite import is_affected, sqlite_module

SQLITE = {
    (3, 6, 23): False,
    (3, 7, 0): True,
    (3, 34, 1): True,
    (3, 40, 1): True,
    (3, 44, 5): True,
    (3, 44, 6): False,
    (3, 45, 0): True,
    (3, 50, 6): True,
    (3, 50, 7): False,
    (3, 51, 0): True,
    (3, 51, 2): True,
    (3, 51, 3): False,
    (3, 52, 0): False,
    (3, 53, 4): False,
    (4, 0, 0): False,
}


@pytest.mark.parametrize("version", SQLITE)
def test_versions_of_sqlite_that_lose_commits_are_known(version: tuple[int, int, int]) -> None:
    assert is_affected(version) == SQLITE[version]


def test_the_sqlite_that_is_used_is_sound() -> None:
    assert not is_affected(sqlite_module().sqlite_version_info)


TAKEN = [
    "sqlite:////var/lib/fallback-mx/queue.db",
    "sqlite:///queue.db",
    "postgresql+psycopg://mx@db.example.net/queue",
    "postgresql+psycopg://mx:p%40ss@/queue?host=%2Frun%2Fpostgresql",
]


@pytest.mark.parametrize("url", TAKEN)
def test_a_database_that_is_supported_is_taken(url: str) -> None:
    assert parse_url(url).render_as_string(hide_password=False) == url


REFUSED = {
    "": "sqlite:////path/queue.db",
    "queue.db": "sqlite:////path/queue.db",
    "/var/lib/queue.db": "sqlite:////path/queue.db",
    "sqlite://": "four slashes",
    "sqlite:///:memory:": "four slashes",
    "postgresql://mx@localhost/queue": "postgresql+psycopg://",
    "postgres://mx@localhost/queue": "postgresql+psycopg://",
    "postgresql+asyncpg://mx@localhost/queue": "postgresql+psycopg://",
    "mysql://mx@localhost/queue": "postgresql+psycopg://",
}


@pytest.mark.parametrize("url", REFUSED)
def test_any_other_url_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(QueueError) as refused:
        parse_url(url)

    assert REFUSED[url] in refused.value.advice


def test_a_password_is_not_repeated_in_a_refusal() -> None:
    with pytest.raises(QueueError) as refused:
        parse_url("mysql://mx:secret@localhost/queue")

    assert "secret" not in f"{refused.value} {refused.value.advice}"


def test_the_path_of_a_file_is_told_and_of_a_server_is_not() -> None:
    assert str(database_path("sqlite:////var/lib/queue.db")) == "/var/lib/queue.db"
    assert database_path("postgresql+psycopg://mx@localhost/queue") is None
