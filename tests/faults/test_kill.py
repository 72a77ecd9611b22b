"""FAULTS 1: killed under load, again and again. Every message answered with 250 is in the queue, whole, and once."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mxqueue import Message, Queue
from tests.fakes.accepting import content as accepted
from tests.fakes.nursery import Nursery
from tests.fakes.ports import free_port
from tests.fakes.postgres import SharedQueueDatabase
from tests.fakes.relay import Relay, primary
from tests.fakes.senders import Senders
from tests.fakes.senders import content as sent
from tests.fakes.supervisor import Supervisor

# `FALLBACK_MX_KILLS=100` kills a hundred times; these many take some fifteen seconds.
KILLS = int(os.environ.get("FALLBACK_MX_KILLS", "20"))
SERVICE_KILLS = int(os.environ.get("FALLBACK_MX_KILLS", "10"))
VICTIM = "tests.fakes.accepting:accept_for_ever"


def token_of(message: Message) -> str:
    return message.recipients[0].forward_path.removesuffix("@example.test")


def promised(promises: Path) -> dict[str, str]:
    """The token of each queue id that was answered with 250."""
    if not promises.exists():
        return {}
    lines = promises.read_text().splitlines()
    return dict(line.split(" ") for line in lines)  # type: ignore[misc]


def kill_again_and_again(url: str, promises: Path, kills: int) -> dict[str, str]:
    lines_before = 0

    def is_under_load() -> bool:
        nonlocal lines_before
        lines = len(promised(promises))
        if lines < lines_before + 10:
            return False
        lines_before = lines
        return True

    with (
        Nursery("tests.fakes.accepting") as nursery,
        Supervisor(lambda: nursery.start(VICTIM, url, str(promises))) as supervisor,
    ):
        supervisor.lives(kills, is_under_load, random.Random(kills))
    found = promised(promises)
    assert len(found) >= 10 * kills
    return found


def check(queue: Queue, promises: dict[str, str], content: Callable[[str], bytes]) -> None:
    mail = {message.id: message for message in queue.list().result()}
    assert {queue_id: token_of(mail[queue_id]) for queue_id in promises if queue_id in mail} == promises
    tokens = Counter(token_of(message) for message in mail.values())
    assert [token for token, times in tokens.items() if times > 1] == [], "in the queue more than once"
    assert [queue_id for queue_id, message in mail.items() if len(message.recipients) != 2] == []
    broken = [
        queue_id
        for queue_id, message in mail.items()
        if b"".join(queue.content(queue_id).result().chunks()) != content(token_of(message))
    ]
    assert broken == []


def test_every_message_answered_is_in_an_sqlite_queue_once_after_kills_under_load(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    promises = kill_again_and_again(url, tmp_path / "promises", KILLS)

    queue = Queue.open(url, node="mx2", exclusive=True)
    check(queue, promises, accepted)
    assert queue.read(lambda connection: connection.exec_driver_sql("PRAGMA integrity_check").scalar()).result() == "ok"
    queue.close()


def test_every_message_answered_is_in_a_postgresql_queue_once_after_kills_under_load(
    tmp_path: Path, shared_queue_database: SharedQueueDatabase
) -> None:
    shared_queue_database.empty()
    promises = kill_again_and_again(shared_queue_database.url, tmp_path / "promises", max(3, KILLS // 4))

    queue = Queue.open(shared_queue_database.url, node="mx2", exclusive=True)
    check(queue, promises, accepted)
    queue.close()


def test_every_message_answered_by_the_service_is_in_its_queue_once_after_kills_under_load() -> None:
    answered_before = 0
    with Relay(primary(free_port())) as relay:
        relay.kill()
        with Senders(relay.port) as senders:

            def is_under_load() -> bool:
                nonlocal answered_before
                if len(senders.promises) < answered_before + 10:
                    return False
                answered_before = len(senders.promises)
                return True

            with Supervisor(relay.bear) as supervisor:
                supervisor.lives(SERVICE_KILLS, is_under_load, random.Random(KILLS))

        listed = relay.cli_json_lines("queue", "list")
        queue = Queue.open(relay.url, node="mx2")
        check(queue, senders.promises, sent)
        assert sorted(line["id"] for line in listed) == [message.id for message in queue.list().result()]
        queue.close()
