"""`fallback-mx queue shape`, `queue log` and `mailq` on a real queue."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from mxqueue import Outcome, RecipientState, Settlement
from tests.fakes.operator import Operator

UNKNOWN_ID = "01K4QZ6YB3T9V5XW2N8M7RCD1E"
HOUR = timedelta(hours=1)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


def _settle(operator: Operator, outcome: Outcome) -> None:
    queue = operator.open()
    (claim,) = queue.claim("main", "test", limit=1).result()
    queue.settle([Settlement(claim, {each.position: outcome for each in claim.message.recipients})]).result()
    queue.close()


def _deliver(operator: Operator, reply: str = "250 2.0.0 ok, queued as 77") -> None:
    _settle(operator, Outcome(RecipientState.DELIVERED, reply))


# shape --------------------------------------------------------------------------------------------------------------


def test_a_shape_has_minutes_for_columns_and_all_of_it_in_the_first_row(operator: Operator) -> None:
    operator.accept("a@example.org", "b@example.org", age=3 * HOUR)
    operator.accept("c@example.net", route="other")
    heading, *rows = operator.run("queue", "shape").stdout.splitlines()
    minutes = ["5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+"]
    assert heading.split("\t") == ["DOMAIN", "TOTAL", *minutes]
    cells = {row.split("\t")[0]: dict(zip(heading.split("\t"), row.split("\t"), strict=True)) for row in rows}
    assert (cells["TOTAL"]["TOTAL"], cells["TOTAL"]["5"], cells["TOTAL"]["320"]) == ("3", "1", "2")
    assert (cells["example.org"]["TOTAL"], cells["example.org"]["320"]) == ("2", "2")


def test_the_shape_of_an_empty_queue_is_said_in_words(operator: Operator) -> None:
    result = operator.run("queue", "shape")
    assert (result.exit_code, result.stdout) == (0, "The queue is empty.\n")
    assert operator.json("queue", "shape") == []


def test_the_senders_of_held_mail_are_counted_the_null_one_too(operator: Operator) -> None:
    operator.accept(sender="x@bulk.example")
    operator.accept(sender="")
    operator.run("queue", "hold", "--all")
    operator.accept(sender="y@later.example")
    lines = operator.json("queue", "shape", "--senders", "--state", "held")
    assert [(line["domain"], line["total"], line["of"]) for line in lines] == [
        ("", 1, "messages by sender"),
        ("bulk.example", 1, "messages by sender"),
    ]
    assert "\n<>\t1" in operator.run("queue", "shape", "--senders").stdout


def test_the_domains_beyond_the_limit_are_one_line(operator: Operator) -> None:
    operator.accept("a@one.example", "b@one.example")
    operator.accept("a@two.example", "a@three.example")
    assert "(2 others)\t2" in operator.run("queue", "shape", "--limit", "1").stdout
    last = operator.json("queue", "shape", "--limit", "1")[-1]
    assert (last["domain"], last["domains"], last["total"]) == (None, 2, 2)


def test_the_classes_are_chosen_by_options(operator: Operator) -> None:
    operator.accept(age=3 * HOUR)
    (line,) = operator.json("queue", "shape", "--first", "1h", "--classes", "2")
    assert [(one["younger_than_seconds"], one["count"]) for one in line["ages"]] == [(3600, 0), (7200, 0), (None, 1)]


@pytest.mark.parametrize("first", ["0s", "2d", "x"])
def test_a_first_class_that_cannot_be_is_code_2(operator: Operator, first: str) -> None:
    assert operator.run("queue", "shape", "--first", first).exit_code == 2


# log ----------------------------------------------------------------------------------------------------------------


def test_the_log_of_a_delivered_message_says_what_the_primary_said(operator: Operator) -> None:
    queue_id = operator.accept()
    _deliver(operator)
    text = operator.run("queue", "log", queue_id.lower()).stdout
    assert text.startswith(f"{queue_id}  25 B for main\nfrom      alice@example.com\n")
    assert re.search(r"Z  bob@example\.org  accepted and stored", text)
    assert re.search(r"Z  bob@example\.org  delivered, the primary said: 250 2\.0\.0 ok, queued as 77\n", text)


def test_the_log_of_a_removed_message_says_who_and_why(operator: Operator) -> None:
    queue_id = operator.accept()
    operator.run("queue", "remove", queue_id, "--yes", "--reason", "asked by the customer")
    assert re.search(r"removed by \S+: asked by the customer", operator.run("queue", "log", queue_id).stdout)


def test_the_log_outlives_the_message(operator: Operator) -> None:
    queue_id = operator.accept()
    _deliver(operator)
    queue = operator.open()
    queue.writer.submit(lambda connection: _forget(connection, queue_id)).result()
    queue.close()
    assert operator.run("queue", "show", queue_id).exit_code == 3
    result = operator.run("queue", "log", queue_id)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{queue_id}  the ledger alone knows of it\n")
    assert "delivered, the primary said" in result.stdout
    assert "delivered, the primary said" in operator.run("queue", "log", "--recipient", "bob@example.org").stdout


def _forget(connection, queue_id: str) -> None:
    for table, column in (("recipient", "message_id"), ("chunk", "message_id"), ("message", "id")):
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = ?", (queue_id,))


def test_the_log_of_a_recipient_has_all_its_mail_and_nobody_elses(operator: Operator) -> None:
    old = operator.accept("bob@example.org", "carol@example.org", age=3 * HOUR)
    new = operator.accept("BOB@example.org")
    operator.accept("dave@example.org")
    lines = operator.json("queue", "log", "--recipient", "bob@EXAMPLE.org")
    assert [(line["id"], line["event"]) for line in lines] == [(old, "accepted"), (new, "accepted")]
    assert list(lines[0]) == ["id", "at", "event", "forward_path", "detail", "actor", "node"]
    (line,) = operator.json("queue", "log", "--recipient", "bob@example.org", "--newer", "2h")
    assert line["id"] == new


def test_a_log_longer_than_a_page_is_complete(operator: Operator) -> None:
    from mxqueue import BytesContent, Envelope

    queue = operator.open()
    envelope = Envelope("a@example.com", ("b@example.org",), "main")
    ids = [one.result()[0] for one in [queue.accept([envelope], BytesContent(b"x")) for _ in range(234)]]
    queue.close()
    assert [line["id"] for line in operator.json("queue", "log", "--recipient", "b@example.org")] == ids
    result = operator.run("queue", "log", "--recipient", "b@example.org", "--limit", "3")
    assert result.stdout.count(" B for main") == 3
    assert "3 messages told, there are more" in result.stderr


@pytest.mark.parametrize("words", [(UNKNOWN_ID,), ("--recipient", "nobody@example.org")])
def test_what_the_ledger_does_not_know_is_code_3(operator: Operator, words: tuple[str, ...]) -> None:
    operator.accept()
    result = operator.run("queue", "log", *words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)


@pytest.mark.parametrize(
    "words",
    [
        (),
        (UNKNOWN_ID, "--recipient", "a@example.org"),
        (UNKNOWN_ID, "--newer", "2h"),
        ("--recipient", "a", "--newer", "x"),
    ],
)
def test_a_log_of_nothing_or_of_too_much_is_code_2(operator: Operator, words: tuple[str, ...]) -> None:
    assert operator.run("queue", "log", *words).exit_code == 2


# mailq --------------------------------------------------------------------------------------------------------------


def test_mailq_of_an_empty_queue_is_postfixs_sentence(operator: Operator) -> None:
    assert operator.run("mailq").stdout == "Mail queue is empty\n"


def test_mailq_has_a_line_for_a_message_and_one_for_each_recipient(operator: Operator) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org", content=b"x" * 3000)
    lines = operator.run("mailq").stdout.splitlines()
    assert "Queue ID" in lines[0]
    assert re.fullmatch(rf"{queue_id} +3000 \w{{3}} \w{{3}} [ \d]\d \d\d:\d\d:\d\d alice@example\.com", lines[1])
    assert [line.strip() for line in lines[2:4]] == ["bob@example.org", "carol@example.org"]
    assert lines[4:] == ["", "-- 2 Kbytes in 1 Request."]


def test_mailq_marks_what_is_held_and_what_is_being_delivered(operator: Operator) -> None:
    held = operator.accept(sender="")
    operator.run("queue", "hold", held)
    busy = operator.accept()
    queue = operator.open()
    queue.claim("main", "test").result()
    queue.close()
    text = operator.run("mailq").stdout
    assert f"\n{busy}*" in text
    assert f"\n{held}! " in text
    assert "MAILER-DAEMON" in text
    assert text.endswith("in 2 Requests.\n")


def test_mailq_says_why_once_for_all_whom_it_concerns(operator: Operator) -> None:
    from mxqueue.model import utc_now

    operator.accept("bob@example.org", "carol@example.org")
    _settle(operator, Outcome(RecipientState.PENDING, "451 4.7.1 later", not_before=utc_now() + HOUR))
    lines = operator.run("mailq").stdout.splitlines()
    assert [line.strip() for line in lines[2:5]] == ["(451 4.7.1 later)", "bob@example.org", "carol@example.org"]


# Names that nobody knows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("queue", "list"),
        ("queue", "shape"),
        ("queue", "hold"),
        ("queue", "retry", "--dry-run"),
        ("queue", "bounce", "--yes"),
        ("queue", "export", "/nowhere"),
        ("recipients", "list"),
        ("recipients", "list", "--lists"),
        ("recipients", "forget"),
        ("recipients", "forget", "--source", "list"),
    ],
)
def test_a_mistyped_primary_is_code_3_and_named_as_unknown(operator: Operator, words: tuple[str, ...]) -> None:
    operator.accept()
    result = operator.run(*words, "--primary", "mian")
    assert result.exit_code == 3
    assert result.stderr.endswith("no primary is called mian; there are main, other. Did you mean 'main'?\n")


def test_mail_of_a_primary_that_is_no_longer_configured_is_found_all_the_same(operator: Operator) -> None:
    queue_id = operator.accept(route="gone")
    assert operator.ids("--primary", "gone") == [queue_id]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("quue", "list"), "No such command 'quue'. Did you mean 'queue'? See `fallback-mx --help`.\n"),
        (("queue", "lst"), "No such command 'lst'. Did you mean 'list'? See `fallback-mx queue --help`.\n"),
        (("xyzzy",), "No such command 'xyzzy'. See `fallback-mx --help`.\n"),
        (("primary", "probe", "mian"), "No primary is called mian; there are main, other. Did you mean 'main'?\n"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(operator: Operator, words: tuple[str, ...], said: str) -> None:
    result = operator.run(*words)
    assert result.exit_code == 2
    assert said.removesuffix("\n") in result.stderr
