"""What a primary says of its SIZE binds what is taken for it, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mxqueue import Queue
from tests.integration.test_listener import Client, ListenerSettings, Route, WhenUp, World, running

LIMIT = 100_000
# What we add to a message counts for the primary too.
OURS = 700
ROUTES = {"small.test": Route("small", WhenUp.GUARD), "large.test": Route("large", WhenUp.GUARD)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    queue = Queue.open(f"sqlite:///{tmp_path}/queue.db", node="n1", exclusive=True)
    settings = ListenerSettings(
        "mx2.example.net", ROUTES, max_message_size=1_000_000, spool_directory=tmp_path, max_line_length=1_000_000
    )
    with running(queue, settings, size_limits={"small": LIMIT}) as world:
        yield world
    queue.close()


def send(client: Client, octets: int, *recipients: str) -> str:
    client.to_data(*recipients)
    client.send(b"x" * (octets - 2) + b"\r\n.\r\n")
    return client.reply()


def test_the_largest_message_that_any_primary_takes_is_announced(world: World) -> None:
    client = world.client()
    client.reply()
    assert "250-SIZE 1000000" in client.say("EHLO client.test")


def test_with_one_primary_its_own_limit_is_announced(tmp_path: Path) -> None:
    queue = Queue.open(f"sqlite:///{tmp_path}/queue.db", node="n1", exclusive=True)
    settings = ListenerSettings("mx2.example.net", {"small.test": ROUTES["small.test"]}, spool_directory=tmp_path)
    with running(queue, settings, size_limits={"small": LIMIT}) as world:
        client = world.client()
        client.reply()
        assert f"250-SIZE {LIMIT - OURS}" in client.say("EHLO client.test")
    queue.close()


def test_a_declared_size_over_the_limit_of_one_primary_is_refused_for_its_recipients_alone(world: World) -> None:
    client = world.client().hello()
    assert client.say(f"MAIL FROM:<a@sender.test> SIZE={LIMIT}").startswith("250")
    assert client.say("RCPT TO:<u@small.test>").startswith("552 5.3.4")
    assert client.say("RCPT TO:<u@large.test>").startswith("250")
    assert world.refusals == ["size"]


@pytest.mark.parametrize(
    ("recipients", "octets", "code"),
    [
        (("u@small.test",), LIMIT - OURS, "250"),
        (("u@small.test",), LIMIT - OURS + 1, "552 5.3.4"),
        (("u@large.test", "u@small.test"), LIMIT - OURS + 1, "552 5.3.4"),
        (("u@large.test",), LIMIT + 1, "250"),
    ],
)
def test_content_over_the_limit_of_one_of_its_primaries_is_refused_at_its_end(
    world: World, recipients: tuple[str, ...], octets: int, code: str
) -> None:
    client = world.client().hello()
    assert send(client, octets, *recipients).startswith(code)
    assert client.say("NOOP").startswith("250")


def test_the_trace_of_a_message_fits_into_what_is_left_for_it(world: World) -> None:
    client = world.client()
    client.reply()
    client.say("EHLO " + "h" * 255)
    assert send(client, LIMIT - OURS, "u@small.test").startswith("250")
    (message,) = world.queue.list().result()
    assert len(message.trace) + message.size <= LIMIT
