"""`fallback-mx status`, `primary list` and `outage list`: what the record says, beside a service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span, Watch
from mxqueue.engine import lock
from tests.fakes.operator import Operator

MINUTE = timedelta(minutes=1)


class BesideAService(Operator):
    """An operator while a service holds the queue."""

    def run(self, *words: str, **options: Any) -> Result:
        with lock(self.database):
            return super().run(*words, **options)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return BesideAService(tmp_path).create()


@pytest.mark.parametrize("words", [("status",), ("primary", "list")])
def test_once_no_service_holds_the_queue_nobody_is_watching_whatever_was_seen_last(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    operator = Operator(tmp_path).create()
    _record(operator, [], [_watch(_now() - MINUTE, _now())])
    output = operator.run(*words).output
    assert "unknown" in output
    assert "up" not in output.split("main")[1].split("\n")[0]


def test_the_status_of_a_stopped_service_begins_with_that(tmp_path: Path) -> None:
    operator = Operator(tmp_path).create()
    _record(operator, [], [_watch(_now() - timedelta(hours=1), _now() - 5 * MINUTE)])
    assert _sentence(operator) == (
        "the service is not running; its primaries were last watched 5 min ago; no message waits."
    )
    assert operator.json("status")[0]["running"] is False


def test_a_service_that_holds_the_queue_is_running(operator: Operator) -> None:
    assert operator.json("status")[0]["running"] is True


def _watch(start: datetime, end: datetime, *, primary: str = "main", node: str = "mx2.example.com") -> Watch:
    return Watch(f"watch-{primary}-{node}", primary, node, start, end)


def _span(
    start: datetime,
    end: datetime | None = None,
    *,
    primary: str = "main",
    node: str = "mx2.example.com",
    confirmed: bool = True,
    recovering_since: datetime | None = None,
    detail: str = "connection refused",
) -> Span:
    return Span(
        id=f"{primary}-{node}-{start:%m%d%H%M%S}",
        primary=primary,
        node=node,
        started_at=start,
        cause_phase="connect",
        cause_detail=detail,
        confirmed_at=start if confirmed else None,
        recovering_since=recovering_since,
        ended_at=end,
    )


def _record(operator: Operator, spans: Sequence[Span], watches: Sequence[Watch]) -> None:
    queue = operator.open()
    OutageLog(queue.writer.submit, queue.read, "mx2.example.com").write(spans, watches).result()
    queue.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _sentence(operator: Operator) -> str:
    result = operator.run("status")
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[0]


def test_a_primary_that_is_down_with_mail_waiting_is_told_in_one_sentence(operator: Operator) -> None:
    now = _now()
    for _ in range(2):
        operator.accept(age=13 * MINUTE + timedelta(seconds=10))
    _record(
        operator,
        [_span(now - 14 * MINUTE - timedelta(seconds=5))],
        [_watch(now - timedelta(days=1), now), _watch(now - timedelta(days=1), now, primary="other")],
    )
    assert _sentence(operator) == ("main is down for 14 min (connection refused); 2 messages are safe; oldest 13 min.")


def test_primaries_that_were_watched_until_now_without_an_outage_are_up(operator: Operator) -> None:
    now = _now()
    watches = [_watch(now - timedelta(hours=1), now, primary=name) for name in ("main", "other")]
    _record(operator, [], watches)
    assert _sentence(operator) == "all 2 primaries are up; no message waits."
    assert [one["state"] for one in operator.json("primary", "list")] == ["up", "up"]


def test_without_a_watch_in_the_last_minute_nothing_is_claimed(operator: Operator) -> None:
    now = _now()
    _record(operator, [_span(now - timedelta(hours=3))], [_watch(now - timedelta(hours=4), now - timedelta(hours=2))])
    assert [one["state"] for one in operator.json("primary", "list")] == ["unknown", "unknown"]
    assert _sentence(operator).startswith("the service is not watching its primaries; ")


def test_an_outage_that_is_not_confirmed_is_falling_and_one_that_recovers_is_rising(operator: Operator) -> None:
    now = _now()
    _record(
        operator,
        [
            _span(now - timedelta(seconds=20), confirmed=False),
            _span(now - 5 * MINUTE, primary="other", recovering_since=now - timedelta(seconds=30)),
        ],
        [_watch(now - timedelta(hours=1), now), _watch(now - timedelta(hours=1), now, primary="other")],
    )
    (status,) = operator.json("status")
    assert [one["state"] for one in status["primaries"]] == ["falling", "rising"]
    assert status["outages"][0]["primary"] == "other"
    assert len(status["outages"]) == 1


def test_a_dead_nodes_open_outage_does_not_hide_what_a_living_node_sees(operator: Operator) -> None:
    now = _now()
    _record(
        operator,
        [_span(now - timedelta(hours=5), node="dead.example.com")],
        [
            _watch(now - timedelta(hours=6), now - timedelta(hours=4), node="dead.example.com"),
            _watch(now - timedelta(hours=1), now),
        ],
    )
    assert operator.json("primary", "list")[0]["state"] == "up"


def test_the_worst_that_a_watching_node_says_is_what_is_said(operator: Operator) -> None:
    now = _now()
    _record(
        operator,
        [_span(now - 5 * MINUTE, node="mx3.example.com")],
        [_watch(now - timedelta(hours=1), now), _watch(now - timedelta(hours=1), now, node="mx3.example.com")],
    )
    assert operator.json("primary", "list")[0]["state"] == "down"


def test_up_counts_from_the_end_of_the_last_outage(operator: Operator) -> None:
    now = _now()
    _record(operator, [_span(now - 9 * MINUTE, now - 4 * MINUTE)], [_watch(now - timedelta(hours=1), now)])
    since = datetime.fromisoformat(operator.json("primary", "list")[0]["since"])
    assert since == now - 4 * MINUTE


def test_mail_for_a_primary_that_is_not_configured_is_mentioned(operator: Operator) -> None:
    operator.accept("x@example.info", route="gone")
    assert "1 message for gone, which is not in the configuration" in _sentence(operator)
    (status,) = operator.json("status")
    assert [(one["name"], one["configured"]) for one in status["primaries"]] == [
        ("main", True),
        ("other", True),
        ("gone", False),
    ]


def test_held_mail_is_counted_apart(operator: Operator) -> None:
    operator.run("queue", "hold", operator.accept())
    assert "1 message is held" in _sentence(operator)


def test_status_json_has_the_promised_fields(operator: Operator) -> None:
    operator.accept("bob@example.org", "carol@example.org")
    now = _now()
    _record(operator, [_span(now - 5 * MINUTE)], [_watch(now - timedelta(hours=1), now)])
    (status,) = operator.json("status")
    assert list(status) == ["as_of", "sentence", "running", "primaries", "outages", "uptime", "reports"]
    main = status["primaries"][0]
    assert {"name", "state", "since", "last_observation", "queue", "drain"} <= set(main)
    assert (main["queue"]["messages"], main["queue"]["recipients"]) == (1, 2)
    assert datetime.fromisoformat(main["queue"]["oldest_arrived_at"]) > now - 5 * MINUTE
    assert status["outages"][0]["cause"] == {"phase": "connect", "detail": "connection refused"}


def test_figures_of_the_drain_are_null_where_no_service_tells_them(operator: Operator) -> None:
    operator.accept(route="gone")
    (status,) = operator.json("status")
    assert [one["drain"] for one in status["primaries"]] == [None, None, None]


def _next_attempt(operator: Operator, queue_id: str) -> str:
    heading, row = operator.run("queue", "show", queue_id).stdout.splitlines()[5:7]
    return dict(zip(heading.split("\t"), row.split("\t"), strict=True))["NEXT ATTEMPT"]


def test_the_next_attempt_in_an_outage_is_when_the_primary_is_up(operator: Operator) -> None:
    queue_id = operator.accept(age=13 * MINUTE)
    _record(operator, [_span(_now() - 14 * MINUTE)], [_watch(_now() - timedelta(hours=1), _now())])
    assert _next_attempt(operator, queue_id) == "when main is up"


def test_the_next_attempt_of_what_is_due_while_the_primary_is_up_is_due_now(operator: Operator) -> None:
    queue_id = operator.accept(age=MINUTE)
    _record(operator, [], [_watch(_now() - timedelta(hours=1), _now())])
    assert _next_attempt(operator, queue_id) == "due now"


def test_mail_of_a_primary_that_is_not_configured_has_no_next_attempt(operator: Operator) -> None:
    assert _next_attempt(operator, operator.accept(route="gone")) == "none, gone is not configured"


def test_held_mail_has_no_next_attempt(operator: Operator) -> None:
    queue_id = operator.accept()
    operator.run("queue", "hold", queue_id)
    assert _next_attempt(operator, queue_id) == ""


def test_no_address_of_a_person_is_in_a_status(operator: Operator) -> None:
    now = _now()
    operator.accept("bob@example.org")
    _record(
        operator, [_span(now - MINUTE, detail="550 <bob@example.org> refused")], [_watch(now - timedelta(hours=1), now)]
    )
    for words in (("status",), ("status", "--json"), ("outage", "list"), ("outage", "list", "--json")):
        output = operator.run(*words).output
        assert "…@example.org" in output.replace("\\u2026", "…")
        assert "bob" not in output


def test_primary_list_says_where_mail_goes(operator: Operator) -> None:
    heading, main, _ = operator.run("primary", "list").stdout.splitlines()
    assert heading.split("\t")[:4] == ["PRIMARY", "STATE", "SINCE", "NEXT HOP"]
    assert main.split("\t")[:4] == ["main", "unknown", "", "192.0.2.25:25"]


NOVEMBER = datetime(2025, 11, 1, tzinfo=UTC)


def _november(operator: Operator) -> None:
    day = timedelta(days=1)
    _record(
        operator,
        [
            _span(NOVEMBER - timedelta(hours=1), NOVEMBER + timedelta(hours=1)),
            _span(NOVEMBER + 10 * day, NOVEMBER + 10 * day + timedelta(hours=2), detail="timed out"),
            _span(NOVEMBER + 12 * day, NOVEMBER + 12 * day + MINUTE, confirmed=False, detail="blip"),
            _span(NOVEMBER + 40 * day, NOVEMBER + 41 * day),
            _span(NOVEMBER + 11 * day, NOVEMBER + 11 * day + MINUTE, primary="other"),
        ],
        [_watch(NOVEMBER - day, NOVEMBER + 15 * day)],
    )


def test_outage_list_of_a_month_has_what_reaches_into_it(operator: Operator) -> None:
    _november(operator)
    lines = operator.json("outage", "list", "--month", "2025-11", "--primary", "main")
    outages = [line for line in lines if line["kind"] == "outage"]
    assert [(one["started_at"][:13], one["duration_seconds"]) for one in outages] == [
        ("2025-10-31T23", 7200.0),
        ("2025-11-11T00", 7200.0),
    ]


def test_blips_are_listed_when_asked_for(operator: Operator) -> None:
    _november(operator)
    told = operator.run("outage", "list", "--month", "2025-11", "--blips").stdout
    assert "connect: blip (not confirmed)" in told
    assert "blip" not in operator.run("outage", "list", "--month", "2025-11").stdout


def test_a_months_parts_add_up_and_unwatched_time_is_unknown(operator: Operator) -> None:
    _november(operator)
    lines = operator.json("outage", "list", "--month", "2025-11", "--primary", "main")
    (uptime,) = [line for line in lines if line["kind"] == "uptime"]
    hours = {part: uptime[f"{part}_seconds"] / 3600 for part in ("up", "down", "unknown")}
    assert hours == {"up": 15 * 24 - 3, "down": 3, "unknown": 15 * 24}
    assert uptime["availability"] == pytest.approx(357 / 360)


@pytest.mark.parametrize("named", [False, True])
def test_the_month_in_progress_ends_now(operator: Operator, named: bool) -> None:
    lines = operator.json("outage", "list", *(["--month", f"{_now():%Y-%m}"] if named else []))
    end = datetime.fromisoformat(lines[-1]["period"]["end"])
    assert abs(end - _now()) < timedelta(minutes=5)


def test_availability_is_cut_off_and_never_rounded_up_to_a_hundred(operator: Operator) -> None:
    start = NOVEMBER
    _record(
        operator,
        [_span(start + timedelta(days=1), start + timedelta(days=1, milliseconds=1))],
        [_watch(start, start + timedelta(days=30))],
    )
    row = operator.run("outage", "list", "--month", "2025-11", "--primary", "main").stdout.splitlines()[-1]
    assert row.split("\t")[-1] == "99.999 %"


def test_a_primary_that_nobody_knows_is_code_3_and_names_those_there_are(operator: Operator) -> None:
    result = operator.run("outage", "list", "--primary", "mian")
    assert result.exit_code == 3
    assert result.stderr == "fallback-mx: no primary is called mian; there are main, other\n"


@pytest.mark.parametrize("month", ["november", "2025-13", "2025-00", "0000-01", "9999-12", "2025-1"])
def test_what_is_no_month_is_code_2(operator: Operator, month: str) -> None:
    result = operator.run("outage", "list", "--month", month)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
