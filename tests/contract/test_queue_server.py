"""A queue on a PostgreSQL server: how it is opened, and what holds when the server goes, comes back or is changed.

FAULTS 51.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from mxqueue import BytesContent, Queue, QueueUnavailable
from tests.fakes.mail import accept, envelope
from tests.fakes.postgres import PostgresServer


def test_two_nodes_may_start_at_once_on_an_empty_database(postgres_url: str) -> None:
    opened: list[Queue] = []
    threads = [
        threading.Thread(target=lambda n=n: opened.append(Queue.open(postgres_url, node=f"mx{n}", exclusive=True)))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for queue in opened:
        queue.close()
    assert len(opened) == 3


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueueUnavailable, match=str(tmp_path)) as refused:
        Queue.open(f"postgresql+psycopg://mx@/queue?host={tmp_path}", node="mx2", exclusive=True)

    assert "storage.url" in refused.value.advice


@pytest.mark.parametrize(("set_to", "found"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
def test_a_commit_is_never_answered_before_the_servers_disk_has_it(
    postgres_server: PostgresServer, set_to: str, found: str
) -> None:
    database = postgres_server.create_database()
    with postgres_server.connect() as connection:
        connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = {set_to}")

    queue = Queue.open(postgres_server.url(database), node="mx2", exclusive=True)
    setting = queue.writer.submit(lambda connection: connection.scalar(text("SHOW synchronous_commit"))).result()
    queue.close()

    assert setting == found


def test_a_server_that_is_restarted_is_found_again() -> None:
    server = PostgresServer()
    queue = Queue.open(server.url("postgres"), node="mx2", exclusive=True)
    accepted = [accept(queue)]
    server.stop()

    for _ in range(2):
        assert isinstance(queue.accept([envelope()], BytesContent(b"x")).exception(), QueueUnavailable)
        assert isinstance(queue.list().exception(), QueueUnavailable)
    assert isinstance(queue.trouble, QueueUnavailable)

    server.start()
    accepted.append(accept(queue))
    assert queue.trouble is None
    assert [each.id for each in queue.list().result()] == accepted
    queue.close()
    server.close()


@pytest.fixture
def server_queue(postgres_url: str) -> Iterator[Queue]:
    queue = Queue.open(postgres_url, node="mx2", exclusive=True)
    yield queue
    queue.close()


def run(queue: Queue, statement: str) -> None:
    queue.writer.submit(lambda connection: connection.execute(text(statement)) and None).result()


def end_connections(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )


def test_a_connection_lost_between_two_commits_costs_nobody_anything(
    postgres_server: PostgresServer, server_queue: Queue
) -> None:
    first = accept(server_queue)
    end_connections(postgres_server)

    second = accept(server_queue)

    assert [each.id for each in server_queue.list().result()] == [first, second]


DIE_AT_COMMIT = """
CREATE SEQUENCE commits;
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('commits'), pg_terminate_backend(pg_backend_pid());
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER die AFTER INSERT ON message DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()
"""


def test_a_connection_lost_in_the_commit_fails_it_and_it_is_not_made_twice(server_queue: Queue) -> None:
    run(server_queue, DIE_AT_COMMIT)

    with pytest.raises(QueueUnavailable):
        accept(server_queue)

    made = server_queue.read(lambda connection: connection.scalar(text("SELECT last_value FROM commits"))).result()
    assert made == 1
    run(server_queue, "DROP TRIGGER die ON message")
    assert accept(server_queue)


def test_a_server_turned_standby_is_unavailable_and_its_connection_let_go(
    postgres_server: PostgresServer, server_queue: Queue, postgres_url: str
) -> None:
    database = postgres_url.split("/")[3].split("?")[0]
    set_read_only = f"ALTER DATABASE {database} SET default_transaction_read_only"
    with postgres_server.connect() as connection:
        connection.execute(f"{set_read_only} = on")
    end_connections(postgres_server)

    with pytest.raises(QueueUnavailable, match="read-only"):
        accept(server_queue)
    assert isinstance(server_queue.ping().exception(), QueueUnavailable)
    assert isinstance(server_queue.trouble, QueueUnavailable)

    with postgres_server.connect() as connection:
        connection.execute(f"{set_read_only} = off")
    assert accept(server_queue)


def lock_in_turn(first: str, second: str, both_hold: threading.Barrier) -> Callable[[Connection], None]:
    """Locks two rows one after the other; the first time it waits in between until somebody else has one too."""
    turns = iter([True])

    def op(connection: Connection) -> None:
        lock = text("SELECT id FROM message WHERE id = :id FOR UPDATE")
        connection.execute(lock, {"id": first}).all()
        if next(turns, False):
            both_hold.wait(timeout=30)
        connection.execute(lock, {"id": second}).all()

    return op


def test_nodes_that_lock_each_other_out_both_get_their_turn(server_queue: Queue, postgres_url: str) -> None:
    other = Queue.open(postgres_url, node="mx3", exclusive=True)
    one, two = accept(server_queue), accept(server_queue)
    both_hold = threading.Barrier(2)

    answers = [
        server_queue.writer.submit(lock_in_turn(one, two, both_hold)),
        other.writer.submit(lock_in_turn(two, one, both_hold)),
    ]

    assert [answer.exception(timeout=60) for answer in answers] == [None, None]
    other.close()
