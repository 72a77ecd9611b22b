"""`fallback-mx queue hold|release|retry|remove`: what an edit touches, what it leaves alone, and what it says."""

from __future__ import annotations

import json
import pwd
from datetime import timedelta
from os import getuid
from pathlib import Path

import pytest

from mxqueue import Outcome, RecipientState, Settlement
from mxqueue.model import utc_now
from tests.fakes.operator import Operator

EDITS = ["hold", "release", "retry", "remove"]
UNKNOWN_ID = "01K4QZ6YB3T9V5XW2N8M7RCD1E"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


def test_hold_and_release_change_the_state_and_the_edit_stands(operator: Operator) -> None:
    queue_id = operator.accept()
    held = operator.run("queue", "hold", queue_id)
    assert (held.exit_code, held.stdout) == (0, "1 message held.\n")
    assert operator.states(queue_id) == ["held"]
    released = operator.run("queue", "release", queue_id)
    assert (released.exit_code, released.stdout) == (0, "1 message released.\n")
    assert operator.states(queue_id) == ["pending"]


def test_retry_makes_what_waits_out_a_backoff_due_now(operator: Operator) -> None:
    queue_id = operator.accept()
    queue = operator.open()
    (claim,) = queue.claim("main", "test").result()
    later = Outcome(RecipientState.PENDING, "450 busy", utc_now() + timedelta(hours=1))
    queue.settle([Settlement(claim, {0: later})]).result()
    assert queue.claim("main", "test").result() == []
    queue.close()
    assert operator.run("queue", "retry", "--primary", "main").stdout == "1 message made due now.\n"
    queue = operator.open()
    assert [claim.message.id for claim in queue.claim("main", "test").result()] == [queue_id]
    queue.close()


def delivered(operator: Operator, *, ago: timedelta, kept: bool = True) -> str:
    """A message that came long ago and was delivered so long ago."""
    queue_id = operator.accept(age=timedelta(days=3))
    queue = operator.open(ago=ago)
    (claim,) = queue.claim("main", "test").result()
    until = utc_now() + timedelta(days=1)
    outcome = Outcome(RecipientState.DELIVERED, "250 ok", keep_until=until if kept else None)
    queue.settle([Settlement(claim, {0: outcome})]).result()
    queue.close()
    return queue_id


def test_retry_delivers_once_more_what_was_delivered_lately_and_is_kept(operator: Operator) -> None:
    early = delivered(operator, ago=timedelta(hours=12))
    lately = delivered(operator, ago=timedelta(hours=1))
    gone = delivered(operator, ago=timedelta(hours=1), kept=False)
    assert operator.ids("--state", "delivered") == [early, lately, gone]
    words = ("queue", "retry", "--state", "delivered", "--newer", "6h")
    assert operator.run(*words, "--dry-run").stdout == "1 message would be made due now.\n"
    result = operator.run(*words, "--reason", "its disk died")
    assert (result.exit_code, result.stdout) == (0, "1 message made due now.\n")
    assert [operator.states(each) for each in (early, lately, gone)] == [["delivered"], ["pending"], ["delivered"]]
    (shown,) = operator.json("queue", "show", lately)
    last = shown["ledger"][-1]
    assert (last["event"], last["detail"]) == ("redelivered", "its disk died")
    assert last["actor"] == pwd.getpwuid(getuid()).pw_name


def test_retry_leaves_what_was_delivered_alone_unless_it_is_asked_for(operator: Operator) -> None:
    queue_id = delivered(operator, ago=timedelta(hours=1))
    assert operator.run("queue", "retry", queue_id).exit_code == 3
    assert operator.run("queue", "retry", "--all").exit_code == 3
    assert operator.states(queue_id) == ["delivered"]


def test_retry_of_both_is_both(operator: Operator) -> None:
    again = delivered(operator, ago=timedelta(hours=1))
    waits = operator.accept()
    result = operator.run("queue", "retry", "--state", "delivered", "--state", "pending")
    assert result.stdout == "2 messages made due now.\n"
    assert (operator.states(again), operator.states(waits)) == (["pending"], ["pending"])


def test_what_is_kept_can_be_read_and_exported(operator: Operator, tmp_path: Path) -> None:
    queue_id = delivered(operator, ago=timedelta(hours=1))
    assert "kept      until" in operator.run("queue", "show", queue_id).stdout
    assert b"World" in operator.run("queue", "cat", queue_id).stdout_bytes
    assert operator.run("queue", "export", str(tmp_path / "out"), "--state", "delivered").exit_code == 0


def test_remove_ends_a_message_and_keeps_its_story(operator: Operator) -> None:
    queue_id = operator.accept()
    result = operator.run("queue", "remove", queue_id, "--yes", "--reason", "spam")
    assert (result.exit_code, result.stdout) == (0, "1 message removed.\n")
    assert operator.ids() == []
    (shown,) = operator.json("queue", "show", queue_id)
    assert (shown["ledger"][-1]["event"], shown["ledger"][-1]["detail"]) == ("removed", "spam")


def test_the_ledger_names_the_user_of_the_operating_system_whatever_the_environment_says(operator: Operator) -> None:
    queue_id = operator.accept()
    operator.run("queue", "hold", queue_id, "--reason", "asked", env={"USER": "mallory", "LOGNAME": "mallory"})
    (shown,) = operator.json("queue", "show", queue_id)
    assert (shown["ledger"][-1]["actor"], shown["ledger"][-1]["detail"]) == (pwd.getpwuid(getuid()).pw_name, "asked")


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_without_ids_filter_or_all_is_refused(operator: Operator, edit: str) -> None:
    queue_id = operator.accept()
    result = operator.run("queue", edit, "--yes")
    assert result.exit_code == 2
    assert result.stderr.startswith("fallback-mx: Say which messages: ids, a filter such as --primary, or --all.")
    assert operator.states(queue_id) == ["pending"]


def test_all_means_all(operator: Operator) -> None:
    ids = [operator.accept(), operator.accept("dave@example.net", route="other")]
    assert operator.run("queue", "hold", "--all").stdout == "2 messages held.\n"
    assert operator.ids("--state", "held") == ids


@pytest.mark.parametrize("words", [("--primary", "main"), (UNKNOWN_ID,)])
def test_all_goes_with_nothing_else(operator: Operator, words: tuple[str, ...]) -> None:
    queue_id = operator.accept()
    assert operator.run("queue", "hold", "--all", *words).exit_code == 2
    assert operator.states(queue_id) == ["pending"]


@pytest.mark.parametrize("text", ["", "\n\n", "ID\tARRIVED\n"])
def test_nothing_on_standard_input_is_nothing_and_never_all(operator: Operator, text: str) -> None:
    queue_id = operator.accept()
    result = operator.run("queue", "remove", "-", "--yes", input=text)
    assert (result.exit_code, result.stderr) == (
        3,
        "fallback-mx: nothing to do: no message matches, or it is not in a state that this changes "
        "(see `queue show ID`)\n",
    )
    assert operator.states(queue_id) == ["pending"]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_list_prints_can_be_piped_into_an_edit(operator: Operator, form: tuple[str, ...]) -> None:
    wanted = operator.accept("bob@example.org")
    other = operator.accept("dave@example.net", route="other")
    listed = operator.run("queue", "list", "--primary", "main", *form).stdout
    assert operator.run("queue", "hold", "-", input=listed).exit_code == 0
    assert (operator.states(wanted), operator.states(other)) == (["held"], ["pending"])


@pytest.mark.parametrize("text", ["nonsense\n", '{"no": "id"}\n', "{broken\n"])
def test_what_is_no_id_on_standard_input_stops_the_edit_before_it_begins(operator: Operator, text: str) -> None:
    queue_id = operator.accept()
    result = operator.run("queue", "hold", "-", input=f"{queue_id}\n{text}")
    assert result.exit_code == 2
    assert operator.states(queue_id) == ["pending"]


def test_ids_and_filters_together_narrow(operator: Operator) -> None:
    main, other = operator.accept(), operator.accept("dave@example.net", route="other")
    result = operator.run("queue", "hold", main, other, "--primary", "other")
    assert result.exit_code == 5
    assert (operator.states(main), operator.states(other)) == (["pending"], ["held"])


def test_an_edit_of_one_recipient_leaves_the_other_alone(operator: Operator) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org")
    operator.run("queue", "hold", "--recipient", "carol@example.org")
    assert operator.states(queue_id) == ["pending", "held"]


def test_an_edit_that_matches_nothing_is_code_3(operator: Operator) -> None:
    queue_id = operator.accept()
    assert operator.run("queue", "release", queue_id).exit_code == 3
    assert operator.run("queue", "hold", UNKNOWN_ID).exit_code == 3


def test_some_ids_that_match_and_some_that_do_not_are_code_5_and_named(operator: Operator) -> None:
    queue_id = operator.accept()
    result = operator.run("queue", "hold", queue_id, UNKNOWN_ID)
    assert (result.exit_code, result.stdout) == (5, "1 message held.\n")
    assert result.stderr == f"fallback-mx: 1 id did not match, the first is {UNKNOWN_ID}\n"


@pytest.mark.parametrize("edit", ["hold", "retry", "remove"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_is_being_delivered_is_left_alone_and_named(operator: Operator, edit: str, dry: tuple[str, ...]) -> None:
    busy, free = operator.accept(), operator.accept()
    queue = operator.open()
    (claim,) = queue.claim("main", "test", limit=1).result()
    queue.close()
    assert claim.message.id == busy
    result = operator.run("queue", edit, "--primary", "main", "--yes", "--json", *dry)
    results = {line["id"]: line["result"] for line in map(json.loads, result.stdout.splitlines())}
    assert (result.exit_code, results[busy]) == (5, "busy")
    assert results[free] == ("would_change" if dry else "changed")
    assert "1 message being delivered just now, left alone" in result.stderr


@pytest.mark.parametrize(("edit", "done"), [("hold", "held"), ("retry", "made due now"), ("remove", "removed")])
def test_a_dry_run_says_what_would_be_done_and_does_nothing(operator: Operator, edit: str, done: str) -> None:
    queue_id = operator.accept()
    before = operator.json("queue", "show", queue_id)
    result = operator.run("queue", edit, "--all", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, f"1 message would be {done}.\n")
    assert operator.json("queue", "show", queue_id) == before


def test_an_edit_by_size_and_by_the_last_reply(operator: Operator) -> None:
    small, large = operator.accept(), operator.accept(content=b"x" * 2000)
    assert operator.run("queue", "hold", "--larger", "1kB").stdout == "1 message held.\n"
    assert (operator.states(small), operator.states(large)) == (["pending"], ["held"])
    queue = operator.open()
    (claim,) = queue.claim("main", "test").result()
    queue.settle([Settlement(claim, {0: Outcome(RecipientState.HELD, "550 5.7.1 Not Today")})]).result()
    queue.close()
    assert operator.ids("--reply", "not today") == operator.ids("--reply", "5xx") == [small]


def test_a_size_that_is_none_is_named(operator: Operator) -> None:
    result = operator.run("queue", "list", "--larger", "10")
    assert (result.exit_code, "--larger 10 is not a size" in result.stderr) == (2, True)


def test_a_dry_run_of_release_counts_only_what_is_held(operator: Operator) -> None:
    operator.accept()
    assert operator.run("queue", "release", "--all", "--dry-run").exit_code == 3


def test_remove_without_a_terminal_wants_yes(operator: Operator) -> None:
    queue_id = operator.accept()
    result = operator.run("queue", "remove", queue_id, input="y\n")
    assert result.exit_code == 2
    assert "say --yes" in result.stderr
    assert operator.states(queue_id) == ["pending"]


def test_more_ids_than_fit_a_statement_are_all_edited(operator: Operator) -> None:
    from mxqueue import BytesContent, Envelope

    queue = operator.open()
    envelope = Envelope("a@example.com", ("b@example.org",), "main")
    accepted = [queue.accept([envelope], BytesContent(b"x")) for _ in range(1234)]
    ids = [future.result()[0] for future in accepted]
    queue.close()
    result = operator.run("queue", "remove", "-", "--yes", input="\n".join(ids))
    assert (result.exit_code, result.stdout) == (0, "1234 messages removed.\n")
    assert operator.ids() == []
