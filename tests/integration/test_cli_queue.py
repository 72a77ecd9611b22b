"""`fallback-mx queue list|show|cat|count` on a real queue, with no service running and with one."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mxqueue import Outcome, RecipientState, Settlement
from mxqueue.model import utc_now
from tests.fakes.operator import Operator

UNKNOWN_ID = "01K4QZ6YB3T9V5XW2N8M7RCD1E"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


def test_list_json_has_exactly_the_promised_fields(operator: Operator) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org")
    (line,) = operator.json("queue", "list")
    assert list(line) == ["id", "arrived_at", "reverse_path", "size", "route", "client_address", "recipients"]
    assert line["id"] == queue_id
    assert line["reverse_path"] == "alice@example.com"
    assert (line["size"], line["route"], line["client_address"]) == (25, "main", "192.0.2.1")
    assert datetime.fromisoformat(line["arrived_at"]).utcoffset() == timedelta(0)
    assert [list(recipient) for recipient in line["recipients"]] == [
        ["forward_path", "state", "attempts", "not_before", "last_reply"]
    ] * 2
    assert line["recipients"][0]["forward_path"] == "bob@example.org"
    assert line["recipients"][0]["state"] == "pending"
    assert line["recipients"][0]["attempts"] == 0


def test_list_in_a_pipe_is_tab_separated_with_a_heading(operator: Operator) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org")
    heading, row = operator.run("queue", "list").stdout.splitlines()
    assert heading.split("\t") == ["ID", "ARRIVED", "SIZE", "PRIMARY", "FROM", "TO", "STATE", "LAST REPLY"]
    cells = row.split("\t")
    assert (cells[0], cells[3:7]) == (queue_id, ["main", "alice@example.com", "bob@example.org +1", "pending"])


def test_an_empty_queue_is_listed_as_empty_with_code_0(operator: Operator) -> None:
    result = operator.run("queue", "list")
    assert (result.exit_code, result.stdout) == (0, "The queue is empty.\n")
    assert operator.json("queue", "list") == []


def test_a_filter_that_nothing_matches_is_code_3(operator: Operator) -> None:
    operator.accept()
    result = operator.run("queue", "list", "--primary", "other")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "fallback-mx: no message matches\n")


@pytest.mark.parametrize(
    "words",
    [
        ("--primary", "other"),
        ("--domain", "EXAMPLE.NET."),
        ("--sender", "<>"),
        ("--recipient", "dave@example.net"),
        ("--state", "held"),
        ("--older", "2h"),
    ],
)
def test_each_filter_finds_its_message_and_no_other(operator: Operator, words: tuple[str, ...]) -> None:
    operator.accept("bob@example.org", sender="alice@example.com")
    wanted = operator.accept("dave@example.net", sender="", route="other", age=timedelta(hours=3))
    operator.run("queue", "hold", wanted)
    assert operator.ids(*words) == [wanted]


def test_newer_leaves_out_what_is_old(operator: Operator) -> None:
    operator.accept(age=timedelta(hours=3))
    new = operator.accept()
    assert operator.ids("--newer", "1h") == [new]


def test_a_list_longer_than_a_page_is_complete_and_in_order_of_arrival(operator: Operator) -> None:
    from mxqueue import BytesContent, Envelope

    queue = operator.open()
    envelope = Envelope("a@example.com", ("b@example.org",), "main")
    accepted = [queue.accept([envelope], BytesContent(b"x")) for _ in range(1234)]
    ids = [future.result()[0] for future in accepted]
    queue.close()
    assert operator.ids() == ids


def test_limit_shows_so_many_and_says_that_there_are_more(operator: Operator) -> None:
    first = operator.accept()
    operator.accept()
    result = operator.run("queue", "list", "--json", "--limit", "1")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [first]
    assert result.stderr == "fallback-mx: 1 shown, there are more: --limit 0 shows all\n"
    assert operator.run("queue", "list", "--limit", "2").stderr == ""
    assert len(operator.ids("--limit", "0")) == 2


def test_commands_work_while_the_service_holds_the_queue(operator: Operator) -> None:
    queue_id = operator.accept()
    service = operator.open()
    try:
        assert operator.ids() == [queue_id]
        assert operator.run("queue", "hold", queue_id).exit_code == 0
        assert service.show(queue_id).result()[0].recipients[0].state is RecipientState.HELD
    finally:
        service.close()


def _delivered(operator: Operator, queue_id: str) -> None:
    queue = operator.open()
    (claim,) = queue.claim("main", "test").result()
    outcomes = {
        0: Outcome(RecipientState.DELIVERED, "250 2.0.0 ok, queued as 77"),
        1: Outcome(RecipientState.PENDING, "450 4.2.1 busy", utc_now() + timedelta(minutes=5)),
    }
    assert queue.settle([Settlement(claim, outcomes)]).result() == []
    queue.close()
    assert claim.message.id == queue_id


def test_show_tells_the_story_of_each_recipient_with_the_primarys_words(operator: Operator) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org")
    _delivered(operator, queue_id)
    operator.run("queue", "hold", queue_id, "--reason", "asked by the customer")
    told = operator.run("queue", "show", queue_id)
    assert told.exit_code == 0
    for words in (
        queue_id,
        "from      alice@example.com",
        "bob@example.org\tdelivered\t1\t\t250 2.0.0 ok, queued as 77",
        "carol@example.org\theld\t1\t\t450 4.2.1 busy",
        "bob@example.org  accepted and stored",
        "bob@example.org  delivered, the primary said: 250 2.0.0 ok, queued as 77",
        "carol@example.org  deferred: 450 4.2.1 busy",
        "asked by the customer",
    ):
        assert words in told.stdout, told.stdout


def test_show_json_has_the_list_fields_and_the_ledger(operator: Operator) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org")
    _delivered(operator, queue_id)
    (shown,) = operator.json("queue", "show", queue_id.lower())
    assert shown["id"] == queue_id
    assert shown["helo"] == "client.example.com"
    assert shown["trace"] == "Received: by mx2.example.com\r\n"
    assert [(row["event"], row["forward_path"]) for row in shown["ledger"]] == [
        ("accepted", "bob@example.org"),
        ("accepted", "carol@example.org"),
        ("delivered", "bob@example.org"),
        ("deferred", "carol@example.org"),
    ]


@pytest.mark.parametrize("command", ["show", "cat"])
def test_a_message_that_is_not_there_is_code_3_with_advice(operator: Operator, command: str) -> None:
    result = operator.run("queue", command, UNKNOWN_ID)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"fallback-mx: {UNKNOWN_ID}: no such message. ")
    assert "queue list" in result.stderr


def test_cat_writes_the_trace_and_the_content_octet_by_octet(operator: Operator) -> None:
    content = bytes(range(256)) * 5000 + b"\r\n.\r\n"
    queue_id = operator.accept(content=content)
    result = operator.run("queue", "cat", queue_id)
    assert result.exit_code == 0
    assert result.stdout_bytes == b"Received: by mx2.example.com\r\n" + content


def test_cat_json_has_the_content_in_base64(operator: Operator) -> None:
    queue_id = operator.accept(content=b"\x00\xff")
    (line,) = operator.json("queue", "cat", queue_id)
    assert base64.b64decode(line["content_base64"]) == b"\x00\xff"


def _damage(operator: Operator) -> None:
    import sqlite3

    connection = sqlite3.connect(operator.database)
    connection.execute("UPDATE chunk SET octets = CAST('damaged' AS BLOB)")
    connection.commit()
    connection.close()


def test_damaged_content_is_refused_and_shown_only_when_asked_for(operator: Operator) -> None:
    queue_id = operator.accept(content=b"sound..")
    _damage(operator)
    refused = operator.run("queue", "cat", queue_id)
    assert refused.exit_code == 1
    assert "does not match its hash" in refused.stderr
    assert b"damaged" not in refused.stdout_bytes
    shown = operator.run("queue", "cat", "--damaged", queue_id)
    assert (shown.exit_code, shown.stdout_bytes[-7:]) == (0, b"damaged")


def test_count_has_messages_and_recipients_by_primary_and_state(operator: Operator) -> None:
    operator.accept("bob@example.org", "carol@example.org")
    operator.run("queue", "hold", operator.accept("dave@example.net", route="other"))
    lines = operator.json("queue", "count")
    assert [(line["primary"], line["state"], line["messages"], line["recipients"]) for line in lines] == [
        ("other", "held", 1, 1),
        ("main", "pending", 1, 2),
    ]
    assert operator.run("queue", "count").stdout.splitlines()[1].startswith("other\theld\t1\t1\t")


def test_count_of_an_empty_queue_says_so(operator: Operator) -> None:
    assert operator.run("queue", "count").stdout == "The queue is empty.\n"


@pytest.mark.parametrize("command", [("queue", "list"), ("queue", "show"), ("queue", "list", "--json")])
def test_control_characters_of_strangers_come_out_as_escapes(operator: Operator, command: tuple[str, ...]) -> None:
    evil = '"\x1b[2J\x07\x9b\u202e\x7f[bold]"@example.com'
    queue_id = operator.accept('"\x1b]0;x\x07"@example.org', sender=evil)
    operator.run("queue", "hold", queue_id, "--reason", "\x1b[1mwhy\r\n")
    words = (*command, queue_id) if command[1] == "show" else command
    result = operator.run(*words)
    assert result.exit_code == 0
    assert all(char.isprintable() or char in "\n\t" for char in result.stdout), ascii(result.stdout)
    assert "[bold]" in result.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("list", "--older", "soon"), "--older soon is not a duration. Write one such as 30s, 10m, 2h or 3d."),
        (("list", "--older", "999999999d"), "--older 999999999d is not a duration."),
        (("list", "--domain", "a@b"), "--domain a@b: "),
        (("list", "--state", "lost"), "Invalid value for '--state'"),
        (("show", "42"), "42 is not a queue id."),
        (("show",), "Missing argument 'ID'."),
        (("lst",), "No such command 'lst'."),
    ],
)
def test_a_wrong_word_is_code_2_and_one_line_that_says_what_to_write(
    operator: Operator, words: tuple[str, ...], complaint: str
) -> None:
    result = operator.run("queue", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"fallback-mx: {complaint}")
    assert result.stderr.count("\n") == 1
