"""The program on a real terminal: tables, colours, questions, and nothing of a stranger's that acts on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fallback_mx.cli.exits import report
from mxqueue import BytesContent, Envelope, Outcome, RecipientState, Settlement
from mxqueue.model import utc_now
from tests.fakes.operator import Operator
from tests.fakes.relay import MAIN, nursery

COLUMNS = 200


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


@contextlib.contextmanager
def _terminal(columns: int) -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


# How wide this terminal is and whether it is colourful is not for whoever runs the tests to say.
FROM_OUTSIDE = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")


def _on_terminal(
    operator: Operator, *words: str, answer: str = "", columns: int = COLUMNS, **env: str
) -> tuple[int, str]:
    """Run a command with a terminal on all three streams; its exit code and what came out."""
    variables = {name: value for name, value in os.environ.items() if name not in FROM_OUTSIDE}
    variables |= {"TERM": "xterm-256color", "FALLBACK_MX_CONFIG": str(operator.config)} | env
    with _terminal(columns) as (ours, theirs):
        process = nursery().start(MAIN, *words, environment=variables, terminal=os.ttyname(theirs))
        if answer:
            os.write(ours, answer.encode())
        pieces = []
        # It has opened its end some time after its start and closes it some time before its end: ours stays open.
        while _is_readable(ours, 0.02) or process.poll() is None or _is_readable(ours, 0):
            if _is_readable(ours, 0):
                pieces.append(os.read(ours, 65536))
        os.close(theirs)
        return process.wait(60), b"".join(pieces).decode()


def _is_readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def test_a_table_on_a_terminal_has_whole_ids_and_colour(operator: Operator) -> None:
    queue_id = operator.accept()
    operator.run("queue", "hold", queue_id)
    code, output = _on_terminal(operator, "queue", "list")
    assert code == 0
    assert "\t" not in output
    assert queue_id in output
    assert "\x1b[33mheld" in output


BOLD_OR_COLOURED = re.compile(r"\x1b\[[0-9;]*m")
LONG_REPLY = "451 4.7.1 <bob.longname@example.org>: Recipient address rejected: try again in five minutes, please"


def _full_house(operator: Operator) -> str:
    """A message with much to tell, and a record of the primaries."""
    queue_id = operator.accept("bob.longname@example.org", sender="alice.with.a.long.name@mail.example.com")
    queue = operator.open()
    (claim,) = queue.claim("main", "test").result()
    later = Outcome(RecipientState.PENDING, LONG_REPLY, not_before=utc_now() + timedelta(hours=1))
    queue.settle([Settlement(claim, {0: later})]).result()
    queue.close()
    return queue_id


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize(
    "words",
    [
        ("queue", "list"),
        ("queue", "show", "ID"),
        ("queue", "count"),
        ("queue", "shape"),
        ("status",),
        ("primary", "list"),
        ("outage", "list"),
        ("recipients", "list", "--lists"),
    ],
)
def test_no_line_is_wider_than_the_terminal_and_no_id_or_time_is_broken(
    operator: Operator, words: tuple[str, ...], columns: int
) -> None:
    queue_id = _full_house(operator)
    words = tuple(queue_id if word == "ID" else word for word in words)
    code, output = _on_terminal(operator, *words, columns=columns)
    assert code == 0
    output = BOLD_OR_COLOURED.sub("", output)
    # Sentences, and the ledger's, go on where the terminal breaks them.
    table = [line for line in output.splitlines() if not line.startswith(("the service", "From ", "No outage", "20"))]
    assert max(map(len, table)) <= columns
    if words[:2] == ("queue", "list"):
        assert f"{queue_id}  20" in output
        assert "".join(LONG_REPLY.split()) in "".join(output.split())


def test_at_80_columns_what_does_not_fit_stands_below_its_row(operator: Operator) -> None:
    queue_id = _full_house(operator)
    _, output = _on_terminal(operator, "queue", "list", columns=80)
    heading, row, *below = BOLD_OR_COLOURED.sub("", output).splitlines()
    assert heading.split() == ["ID", "ARRIVED", "SIZE", "PRIMARY", "STATE"]
    assert row.split()[0] == queue_id
    assert row.split()[-1] == "pending"
    assert below[:2] == ["    from: alice.with.a.long.name@mail.example.com", "    to: bob.longname@example.org"]
    assert below[2].startswith("    last reply: 451 4.7.1 <bob.longname@example.org>: ")
    assert below[3].startswith("    ")


def test_no_color_is_honoured(operator: Operator) -> None:
    operator.run("queue", "hold", operator.accept())
    _, output = _on_terminal(operator, "queue", "list", NO_COLOR="1")
    # NO_COLOR speaks of colour; bold headings may stay (no-color.org).
    assert "\x1b[3" not in output
    assert "held" in output


@pytest.mark.parametrize("words", [("queue", "list"), ("queue", "show"), ("queue", "cat"), ("status",)])
def test_nothing_of_a_strangers_acts_on_the_terminal(operator: Operator, words: tuple[str, ...]) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b5n\u202e[red]\x08"
    queue_id = operator.accept(
        f'"{evil}"@example.org',
        sender=f'"{evil}"@example.com',
        content=f"Subject: {evil}\r\n\r\n\x1b[31mred\r\n".encode(),
    )
    target = (queue_id,) if words[-1] in ("show", "cat") else ()
    code, output = _on_terminal(operator, *words, *target, TERM="dumb", NO_COLOR="1")
    assert code == 0
    assert all(char.isprintable() or char in "\r\n\t" for char in output), ascii(output)
    if words[0] == "queue":
        assert "[red]" in "".join(output.split())


def test_content_in_a_pipe_is_not_changed_by_what_a_terminal_would_be_shown(operator: Operator) -> None:
    queue_id = operator.accept(content=b"\x1b[31mred\r\n")
    assert operator.run("queue", "cat", queue_id).stdout_bytes.endswith(b"\x1b[31mred\r\n")


def test_remove_says_how_much_and_does_nothing_on_no(operator: Operator) -> None:
    queue_id = operator.accept(content=b"x" * 1500)
    code, output = _on_terminal(operator, "queue", "remove", queue_id, answer="n\n")
    assert code == 1
    assert "Remove 1 message (1.5 kB) for good? [y/N]" in output
    assert operator.states(queue_id) == ["pending"]


def test_remove_on_yes_removes_what_was_counted(operator: Operator) -> None:
    queue_id = operator.accept()
    code, output = _on_terminal(operator, "queue", "remove", "--primary", "main", answer="y\n")
    assert code == 0
    assert "1 message removed." in output
    assert operator.states(queue_id) == ["removed"]


def test_remove_does_not_ask_when_nothing_matches(operator: Operator) -> None:
    code, output = _on_terminal(operator, "queue", "remove", "--primary", "main")
    assert code == 3
    assert "?" not in output


def test_remove_names_what_is_being_delivered_and_what_did_not_match(operator: Operator) -> None:
    busy, free = operator.accept(), operator.accept()
    queue = operator.open()
    queue.claim("main", "test", limit=1).result()
    queue.close()
    unknown = "01K4QZ6YB3T9V5XW2N8M7RCD1E"
    code, output = _on_terminal(operator, "queue", "remove", busy, free, unknown, answer="y\n")
    assert code == 5
    assert "1 message removed." in output
    assert "1 message being delivered just now" in output
    assert f"1 id did not match, the first is {unknown}" in output
    assert operator.states(busy) == ["pending"]


def test_a_long_list_on_a_terminal_stops_after_200_and_says_so(operator: Operator) -> None:
    queue = operator.open()
    envelope = Envelope("a@example.com", ("b@example.org",), "main")
    for future in [queue.accept([envelope], BytesContent(b"x")) for _ in range(201)]:
        future.result()
    queue.close()
    code, output = _on_terminal(operator, "queue", "list", NO_COLOR="1")
    assert code == 0
    assert output.count("b@example.org") == 200
    assert "200 shown, there are more: --limit 0 shows all" in output


def test_a_status_on_a_terminal_begins_with_the_sentence(operator: Operator) -> None:
    operator.accept(age=timedelta(minutes=13))
    _, output = _on_terminal(operator, "status", NO_COLOR="1")
    assert output.startswith("the service is not running; 1 message is safe; oldest 13 min.")


def test_a_reader_that_has_enough_is_no_error_to_talk_about(operator: Operator) -> None:
    queue = operator.open()
    envelope = Envelope("a@example.com", ("b@example.org",), "main")
    for future in [queue.accept([envelope], BytesContent(b"x")) for _ in range(1000)]:
        future.result()
    queue.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "fallback_mx", "queue", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"FALLBACK_MX_CONFIG": str(operator.config)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(60) == 1


def test_an_unforeseen_error_is_one_line_and_its_traceback_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        raise RuntimeError("unforeseen\x1b\n")
    except RuntimeError as error:
        assert report(error) == 1
        line = capsys.readouterr().err
        monkeypatch.setenv("FALLBACK_MX_TRACEBACK", "1")
        report(error)
    assert line == "fallback-mx: RuntimeError: unforeseen\\x1b\\n (FALLBACK_MX_TRACEBACK=1 shows where)\n"
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupted_command_is_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt()) == 1
    assert capsys.readouterr().err == "fallback-mx: stopped\n"
