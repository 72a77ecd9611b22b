"""`fallback-mx check`: one line, figures, and the exit codes of a plugin, whatever goes wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.cli.plugin import Figure, Level, threshold, worst
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span, Watch
from mxqueue.engine import lock
from tests.fakes.operator import Operator

NOW = datetime.now
MINUTE = timedelta(minutes=1)
# The guidelines: 'label'=value[unit];[warn];[crit];[min];[max]
PERFORMANCE = re.compile(r"'(?:[^'=|]|'')+'=-?[0-9.]+(?:s|B|)(?:;[@~:0-9.]*){2};[0-9.]*")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


def _ask(operator: Operator, *words: str) -> tuple[int, str]:
    """The exit code and the one line, whose figures are as the guidelines want them."""
    result = operator.run("check", *words)
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1, result.stdout
    line = result.stdout.removesuffix("\n")
    if " | " in line:
        for figure in re.split(r" (?=')", line.partition(" | ")[2]):
            assert PERFORMANCE.fullmatch(figure), figure
    return result.exit_code, line


def _seen(operator: Operator, name: str, *, down_for: timedelta | None = None, confirmed: bool = True) -> None:
    now = datetime.now(UTC)
    queue = operator.open()
    log = OutageLog(queue.writer.submit, queue.read, "mx2.example.com")
    spans = []
    if down_for is not None:
        began = now - down_for
        found = began if confirmed else None
        spans = [Span(f"s-{name}", name, "mx2.example.com", began, "connect", "connection refused", found, None, None)]
    log.write(spans, [Watch(f"w-{name}", name, "mx2.example.com", now - timedelta(hours=9), now)]).result()
    queue.close()


# queue --------------------------------------------------------------------------------------------------------------


def test_an_empty_queue_is_ok_with_figures(operator: Operator) -> None:
    code, line = _ask(operator, "queue", "-w", "10", "-c", "20")
    assert (code, line) == (
        0,
        "QUEUE OK - 0 messages waiting, 0 held | 'pending'=0;10;20;0 'held'=0;;;0 'oldest'=0s;;;0",
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("-w", "2", "-c", "3"), 0),
        (("-w", "1", "-c", "3"), 1),
        (("-w", "0", "-c", "1"), 2),
        (("-w", "5:", "-c", "1:"), 1),
        (("--warning-age", "1h"), 1),
        (("--warning-age", "1h", "--critical-age", "2h"), 2),
        (("--warning-age", "4h"), 0),
        (("--warning-held", "0"), 1),
        (("--critical-held", "0"), 2),
        (("--primary", "other", "-w", "0"), 0),
        (("--primary", "main", "-w", "0"), 1),
    ],
)
def test_a_queue_is_held_against_its_thresholds(operator: Operator, words: tuple[str, ...], code: int) -> None:
    operator.accept(age=timedelta(hours=3))
    operator.accept()
    operator.run("queue", "hold", operator.accept())
    found, line = _ask(operator, "queue", *words)
    assert (found, line.split()[1]) == (code, ("OK", "WARNING", "CRITICAL")[code])


def test_mail_of_a_primary_that_nobody_knows_is_unknown(operator: Operator) -> None:
    code, line = _ask(operator, "queue", "--primary", "mian")
    assert code == 3
    assert "no primary is called mian; there are main, other. Did you mean 'main'?" in line


# primary ------------------------------------------------------------------------------------------------------------


def test_a_primary_that_is_up_is_ok(operator: Operator) -> None:
    _seen(operator, "main")
    with lock(operator.database):
        code, line = _ask(operator, "primary", "main")
    assert (code, line) == (0, "PRIMARY OK - main is up | 'main up'=1;;;0 'main not up for'=0s;;;0")


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 2), (("-c", "10m"), 2), (("-c", "1h"), 1), (("-w", "30m", "-c", "1h"), 0), (("-w", "600"), 2)],
)
def test_a_primary_that_is_down_is_critical_once_it_has_been_for_so_long(
    operator: Operator, words: tuple[str, ...], code: int
) -> None:
    _seen(operator, "main", down_for=14 * MINUTE + timedelta(seconds=5))
    with lock(operator.database):
        found, line = _ask(operator, "primary", "main", *words)
    assert found == code
    assert "main is down for 14 min (connection refused)" in line


def test_a_primary_that_fails_but_is_not_down_yet_is_a_warning(operator: Operator) -> None:
    _seen(operator, "main", down_for=timedelta(seconds=20), confirmed=False)
    with lock(operator.database):
        assert _ask(operator, "primary", "main")[0] == 1


def test_the_worst_of_all_primaries_counts(operator: Operator) -> None:
    _seen(operator, "main", down_for=MINUTE)
    _seen(operator, "other")
    with lock(operator.database):
        code, line = _ask(operator, "primary")
    assert code == 2
    assert "other is up" in line


def test_primaries_of_a_stopped_service_are_unknown(operator: Operator) -> None:
    _seen(operator, "main")
    assert _ask(operator, "primary", "main")[0] == 3


# self ---------------------------------------------------------------------------------------------------------------


def test_a_service_that_runs_and_has_room_is_ok(operator: Operator) -> None:
    with lock(operator.database):
        code, line = _ask(operator, "self", "-w", "2:", "-c", "1:")
    assert code == 0
    assert re.match(r"SELF OK - the service is running, [0-9.]+ [GTM]B free \| 'free'=\d+B;2:;1:;0$", line)


def test_a_stopped_service_is_critical(operator: Operator) -> None:
    code, line = _ask(operator, "self")
    assert code == 2
    assert "the service is not running" in line


@pytest.mark.parametrize(("words", "code"), [(("-w", "900TB:", "-c", "1B:"), 1), (("-c", "900TB:"), 2)])
def test_too_little_room_is_told(operator: Operator, words: tuple[str, ...], code: int) -> None:
    with lock(operator.database):
        assert _ask(operator, "self", *words)[0] == code


# What goes wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["queue", "primary", "self"])
def test_a_missing_configuration_is_unknown_in_one_line(operator: Operator, what: str) -> None:
    code, line = _ask(operator, what, "--config", "/nowhere.toml")
    assert code == 3
    assert line.startswith("CHECK UNKNOWN - /nowhere.toml: there is no such file")


@pytest.mark.parametrize("what", ["queue", "primary", "self"])
def test_a_configuration_with_many_mistakes_is_unknown_in_one_line(operator: Operator, what: str) -> None:
    operator.config.write_text("[server]\nhostname = 3\nlisten = 4\n[nonsense]\n")
    code, line = _ask(operator, what)
    assert code == 3
    assert re.search(r"\(and \d+ more\)$", line)


@pytest.mark.parametrize("what", ["queue", "primary", "self"])
def test_a_database_that_is_not_there_is_unknown(operator: Operator, what: str) -> None:
    operator.database.unlink()
    code, line = _ask(operator, what)
    assert code == 3
    assert f"{operator.database} does not exist" in line


def test_a_database_server_that_does_not_answer_is_unknown(operator: Operator) -> None:
    text = operator.config.read_text()
    operator.config.write_text(text.replace(operator.url, "postgresql+psycopg://nobody@127.0.0.1:1/none"))
    assert _ask(operator, "queue")[0] == 3


@pytest.mark.parametrize(
    "words",
    [("queue", "-w", "many"), ("queue", "--nonsense"), ("nonsense",), ("--nonsense",), ("primary", "mian")],
)
def test_a_command_line_that_is_not_right_is_unknown(operator: Operator, words: tuple[str, ...]) -> None:
    assert _ask(operator, *words)[0] == 3


# Thresholds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "alerts", "quiet"),
    [
        ("10", (-1, 10.5, 11), (0, 5, 10)),
        ("10:", (9, -1), (10, 1e9)),
        ("~:10", (11,), (-100, 10)),
        ("10:20", (9, 21), (10, 20)),
        ("@10:20", (10, 15, 20), (9, 21)),
    ],
)
def test_a_threshold_means_what_the_guidelines_say(text: str, alerts: tuple[float, ...], quiet: tuple[float, ...]):
    limit = threshold(text)
    assert all(limit.alerts(value) for value in alerts)
    assert not any(limit.alerts(value) for value in quiet)
    assert limit.text == text


@pytest.mark.parametrize("text", ["", ":", "@", "20:10", "x", "1:2:3", "~", "nan"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        threshold(text)


@given(st.text(max_size=20))
def test_whatever_is_typed_is_a_threshold_or_a_value_error(text: str) -> None:
    try:
        limit = threshold(text)
    except ValueError:
        return
    assert re.fullmatch(r"@?[~:0-9.-]+", limit.text), limit.text
    assert limit.alerts(0) in (True, False)


def test_a_label_cannot_end_its_figure() -> None:
    assert str(Figure("a'b=c|d", 1)) == "'a''b_c_d'=1;;;0"


def test_what_is_critical_goes_before_what_is_unknown() -> None:
    assert worst([Level.WARNING, Level.UNKNOWN, Level.OK]) is Level.UNKNOWN
    assert worst([Level.CRITICAL, Level.UNKNOWN]) is Level.CRITICAL
