"""`fallback-mx primary pause|resume|force|probe`: an operator at a shell."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from fallback_mx.smtp.sink import Sink
from tests.fakes.operator import Operator
from tests.fakes.primary import FakePrimary
from tests.fakes.raw_server import closed_port

SLACK = timedelta(minutes=1)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


def orders(operator: Operator, name: str = "main") -> dict[str, dict[str, str] | None]:
    (found,) = [one["orders"] for one in operator.json("primary", "list") if one["name"] == name]
    return dict(found)


def test_a_pause_stands_until_its_end_with_who_gave_it_and_why(operator: Operator) -> None:
    (told,) = operator.json("primary", "pause", "main", "--for", "2h", "--reason", "disks")
    assert (told["primary"], told["what"], told["reason"]) == ("main", "pause", "disks")
    assert told["actor"]
    end = datetime.fromisoformat(told["until"])
    assert abs(end - datetime.now(UTC) - timedelta(hours=2)) < SLACK
    pause = orders(operator)["pause"]
    assert pause is not None
    assert (pause["until"], pause["reason"]) == (told["until"], "disks")
    assert orders(operator, "other") == {"pause": None, "force": None}


def test_a_pause_without_a_time_stands_until_it_is_resumed(operator: Operator) -> None:
    result = operator.run("primary", "pause", "main")
    assert result.stdout == "main is paused until it is resumed. Mail for it is taken and kept.\n"
    assert "main is paused until it is resumed" in operator.run("status").stdout.splitlines()[0]
    assert operator.run("primary", "resume", "main").stdout == "main is resumed; taken back: pause.\n"
    assert orders(operator) == {"pause": None, "force": None}


def test_a_force_ends_by_itself_after_an_hour_unless_told_otherwise(operator: Operator) -> None:
    (told,) = operator.json("primary", "force", "main", "down")
    assert abs(datetime.fromisoformat(told["until"]) - datetime.now(UTC) - timedelta(hours=1)) < SLACK
    force = orders(operator)["force"]
    assert force is not None
    assert force["state"] == "down"
    operator.run("primary", "force", "main", "up", "--for", "1ms")
    assert orders(operator)["force"] is None


def test_resume_takes_back_both(operator: Operator) -> None:
    operator.run("primary", "pause", "main")
    operator.run("primary", "force", "main", "up")
    (told,) = operator.json("primary", "resume", "main")
    assert told["ended"] == ["pause", "force up"]


def test_to_take_back_nothing_is_code_3(operator: Operator) -> None:
    result = operator.run("primary", "resume", "main")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "neither paused nor forced" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", "mian"), "No primary is called mian; there are main, other."),
        (("pause", "main", "--for", "soon"), "--for soon is not a duration. Write one such as 30m, 2h or 1d."),
        (("pause", "main", "--for", "0s"), "--for 0s is not between a moment and a year."),
        (("force", "main", "up", "--for", "400d"), "--for 400d is not between a moment and a year."),
        (("force", "main", "sideways"), "Invalid value for '{up|down}': 'sideways' is not one of 'up', 'down'."),
    ],
)
def test_what_was_meant_wrongly_is_code_2_and_orders_nothing(
    operator: Operator, words: tuple[str, ...], said: str
) -> None:
    result = operator.run("primary", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert orders(operator) == {"pause": None, "force": None}


def test_the_list_says_what_was_ordered_by_whom_and_why(operator: Operator) -> None:
    (told,) = operator.json("primary", "force", "main", "down", "--reason", "it refuses everybody")
    row = operator.run("primary", "list").stdout.splitlines()[1].split("\t")
    assert row[-1].startswith("forced down until ")
    assert row[-1].endswith(f" by {told['actor']} (it refuses everybody)")


def test_the_next_attempt_of_mail_for_a_paused_primary_is_when_it_is_no_longer_paused(operator: Operator) -> None:
    queue_id = operator.accept()
    operator.run("primary", "pause", "main")
    assert "when main is no longer paused" in operator.run("queue", "show", queue_id).stdout


def test_orders_want_their_table_and_a_migration_makes_it(operator: Operator) -> None:
    queue = operator.open()
    queue.writer.submit(lambda connection: connection.exec_driver_sql("DROP TABLE primary_order") and None).result()
    queue.writer.submit(lambda connection: connection.exec_driver_sql("DROP TABLE orders_version") and None).result()
    queue.close()
    assert operator.run("primary", "pause", "main").exit_code == 4
    assert operator.run("db", "migrate").stdout == "The database was migrated.\n"
    assert operator.run("primary", "pause", "main").exit_code == 0


# One look now -------------------------------------------------------------------------------------------------------


@pytest.fixture
def primary() -> Iterator[FakePrimary]:
    with FakePrimary() as running:
        yield running


def point_at(operator: Operator, port: int, **settings: str) -> None:
    text = operator.config.read_text()
    more = "".join(f'\n{key} = "{value}"' for key, value in settings.items())
    operator.config.write_text(text.replace('host = "192.0.2.25"', f'host = "127.0.0.1"\nport = {port}{more}', 1))


def test_a_probe_shows_each_step_with_what_was_said(operator: Operator, primary: FakePrimary) -> None:
    point_at(operator, primary.port)
    (seen,) = operator.json("primary", "probe", "main")
    assert (seen["primary"], seen["good"], seen["phase"]) == ("main", True, "ehlo")
    assert [step["phase"] for step in seen["steps"]] == ["connect", "banner", "ehlo"]
    assert seen["steps"][0]["said"] == f"127.0.0.1 is 127.0.0.1 port {primary.port}"
    assert seen["steps"][1]["said"].startswith("220 ")
    assert "8BITMIME" in seen["steps"][2]["said"]
    assert "MAIL" not in str(primary.sink.commands)


def test_a_probe_speaks_tls_as_deliveries_do(operator: Operator) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FakePrimary(sink=Sink(tls=context)) as primary:
        point_at(operator, primary.port, tls="require")
        (seen,) = operator.json("primary", "probe", "main")
    assert [step["phase"] for step in seen["steps"]] == ["connect", "banner", "ehlo", "starttls", "ehlo"]
    assert seen["steps"][3]["said"].startswith("TLS")


def test_a_probe_of_a_primary_that_refuses_shows_how_far_it_came_and_is_code_1(operator: Operator) -> None:
    with FakePrimary(replies={"ehlo": "554 5.7.1 Not you", "helo": "554 5.7.1 Not you"}) as primary:
        point_at(operator, primary.port)
        result = operator.run("primary", "probe", "main", "--json")
    seen = json.loads(result.stdout)
    assert (result.exit_code, seen["good"], seen["phase"]) == (1, False, "ehlo")
    assert seen["steps"][-1]["said"] == "554 5.7.1 Not you"
    assert "554 5.7.1 Not you" in result.stderr


def test_a_probe_goes_as_deep_as_it_is_told_and_knocks_at_the_other_ports(
    operator: Operator, primary: FakePrimary
) -> None:
    point_at(operator, primary.port, probe="transaction")
    with socket.create_server(("127.0.0.1", 0)) as server, closed_port() as closed:
        other = server.getsockname()[1]
        text = operator.config.read_text()
        lines = f'name = "main"\ndown_ports = [{other}]\nalert_ports = ["127.0.0.1:{closed}"]'
        operator.config.write_text(text.replace('name = "main"', lines, 1))
        (seen,) = operator.json("primary", "probe", "main")
    assert (seen["good"], seen["phase"]) == (True, "rcpt")
    assert [step["phase"] for step in seen["steps"]] == ["connect", "banner", "ehlo", "mail", "rcpt"]
    assert b"RCPT TO:<postmaster@example.org>" in primary.sink.commands
    assert [(port["port"], port["good"]) for port in seen["ports"]] == [
        (str(other), True),
        (f"127.0.0.1:{closed}", False),
    ]


def test_a_probe_of_a_port_where_nobody_listens_says_so(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    point_at(operator, port)
    result = operator.run("primary", "probe", "main")
    assert result.exit_code == 1
    assert f"(connect: 127.0.0.1 port {port}: connection refused)" in result.stderr


def test_a_probe_needs_no_database_and_leaves_no_trace_in_the_record(operator: Operator, primary: FakePrimary) -> None:
    point_at(operator, primary.port)
    operator.database.unlink()
    assert operator.run("primary", "probe", "main").exit_code == 0
    assert not operator.database.exists()
