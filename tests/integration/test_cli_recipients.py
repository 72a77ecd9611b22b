"""`fallback-mx recipients list|import|verify|forget`, as an operator types them, without a service running."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fallback_mx.recipients.addresses import parse
from fallback_mx.recipients.book import Book
from fallback_mx.rules.recipients import Source, Verdict
from fallback_mx.smtp.sink import SinkSession
from tests.fakes.operator import Operator
from tests.fakes.primary import FakePrimary

NO_SUCH = "550 5.1.1 no such user"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


@pytest.fixture
def listed(operator: Operator, tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str) -> Path:
        path = tmp_path / "recipients"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def only_bob(session: SinkSession, path: str) -> str:
    return "250 2.1.5 Ok" if path == "bob@example.org" else NO_SUCH


@pytest.fixture
def primary(operator: Operator) -> Iterator[FakePrimary]:
    """The primary `main`, which has bob and nobody else."""
    with FakePrimary({"rcpt": only_bob}) as one:
        text = operator.config.read_text()
        operator.config.write_text(text.replace('host = "192.0.2.25"', f'host = "127.0.0.1"\nport = {one.port}'))
        yield one


def configure(operator: Operator, keys: str) -> None:
    """Give these keys to the primary `main`."""
    operator.config.write_text(operator.config.read_text().replace('name = "main"\n', f'name = "main"\n{keys}\n'))


def teach(operator: Operator, *lessons: tuple[str, Verdict]) -> None:
    queue = operator.open()
    book = Book(queue.writer.submit, queue.read)
    for address, verdict in lessons:
        if address.startswith("*@"):
            book.learn_domain("main", address[2:], verdict)
        else:
            book.learn("main", parse(address), verdict, Source.DELIVERY)
    book.write().result()
    queue.close()


def addresses(operator: Operator, *words: str) -> list[str]:
    result = operator.run("recipients", "list", "--json", *words)
    return [json.loads(line)["address"] for line in result.stdout.splitlines()]


# import ---------------------------------------------------------------------------------------------------------


def test_a_file_is_imported_and_the_difference_is_said(operator: Operator, listed: Callable[..., Path]) -> None:
    path = listed("bob@example.org", "alice@example.org")
    result = operator.run("recipients", "import", "--primary", "main", str(path))
    assert (result.exit_code, result.stdout) == (0, "2 addresses of main: 2 added, 0 removed.\n")
    listed("bob@example.org", "carol@example.org", "dave@example.net")
    result = operator.run("recipients", "import", "--primary", "main", str(path))
    assert result.stdout == (
        "2 addresses of main: 1 added, 1 removed.\n1 line passed over: in domains that are not this primary's.\n"
    )
    assert operator.run("recipients", "import", "--primary", "main", str(path)).stdout == (
        "2 addresses of main: unchanged.\n"
    )
    assert addresses(operator) == ["bob@example.org", "carol@example.org"]


def test_a_list_comes_in_on_standard_input(operator: Operator) -> None:
    result = operator.run("recipients", "import", "--primary", "main", "-", input="bob@example.org\n")
    assert (result.exit_code, addresses(operator)) == (0, ["bob@example.org"])


def test_without_a_file_the_configured_source_is_read(operator: Operator, listed: Callable[..., Path]) -> None:
    configure(operator, f'recipients_file = "{listed("bob@example.org")}"')
    (answer,) = operator.json("recipients", "import", "--primary", "main")
    assert answer == {
        "primary": "main",
        "addresses": 1,
        "added": 1,
        "removed": 0,
        "unchanged": False,
        "passed_over": 0,
        "bad_lines": 0,
    }


def test_bad_lines_are_named_and_the_exit_code_is_5(operator: Operator, listed: Callable[..., Path]) -> None:
    path = listed("bob@example.org", "alice", "carol@example.org", "\x1b[31m@example.org")
    result = operator.run("recipients", "import", "--primary", "main", str(path))
    assert result.exit_code == 5
    assert result.stderr.splitlines() == [
        "fallback-mx: line 2: 'alice': there is no @ in it",
        "fallback-mx: line 4: '\\x1b[31m@example.org': what stands before the @ is no local part",
    ]
    assert addresses(operator) == ["bob@example.org", "carol@example.org"]


def test_a_list_that_would_undo_the_old_one_wants_force(operator: Operator, listed: Callable[..., Path]) -> None:
    path = listed(*(f"user{number}@example.org" for number in range(20)))
    operator.run("recipients", "import", "--primary", "main", str(path))
    listed("user1@example.org")
    result = operator.run("recipients", "import", "--primary", "main", str(path))
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "fallback-mx: it holds 1 of what were 20 addresses; the old list is kept. Look at the list."
    )
    assert len(addresses(operator)) == 20
    assert operator.run("recipients", "import", "--primary", "main", "--force", str(path)).exit_code == 0
    assert addresses(operator) == ["user1@example.org"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("import", "x"), "Say which primary with --primary; there are main, other."),
        (("import", "--primary", "none", "x"), "No primary is called none; there are main, other."),
        (("import", "--primary", "main"), "main has no configured list: name a file, or - for standard input."),
        (("list", "--lists", "--verdict", "bad"), "--lists goes with --primary alone."),
        (("list", "--domain", "a..b"), "--domain a..b: it has an empty part between two dots."),
        (("forget",), "Say what: addresses, or a filter such as --primary."),
        (("forget", "bob@example.org", "--verdict", "bad"), "Addresses go with --primary alone."),
        (("forget", "--source", "list"), "A list is forgotten as a whole: --source list goes with --primary alone."),
        (("forget", "bob"), "bob is not an address: there is no @ in it."),
        (("verify", "bob"), "bob is not an address: there is no @ in it."),
        (("verify",), "Missing argument 'ADDRESS...'."),
    ],
)
def test_what_cannot_be_meant_is_code_2(operator: Operator, words: tuple[str, ...], says: str) -> None:
    result = operator.run("recipients", *words)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_file_that_is_not_there_is_code_1(operator: Operator) -> None:
    result = operator.run("recipients", "import", "--primary", "main", "/nowhere/list")
    assert (result.exit_code, result.stderr) == (
        1,
        "fallback-mx: /nowhere/list: there is no such file. Write the path of a list to recipients_file.\n",
    )


# list -----------------------------------------------------------------------------------------------------------


def test_everything_that_is_known_is_listed_with_its_source(operator: Operator, listed: Callable[..., Path]) -> None:
    path = listed("bob@example.org", "@example.org")
    operator.run("recipients", "import", "--primary", "main", str(path))
    teach(operator, ("Carol@example.org", Verdict.BAD), ("*@example.org", Verdict.CATCH_ALL))
    rows = [
        (row["address"], row["primary"], row["verdict"], row["source"]) for row in operator.json("recipients", "list")
    ]
    assert rows == [
        ("*@example.org", "main", "catch-all", "list"),
        ("bob@example.org", "main", "good", "list"),
        ("*@example.org", "main", "catch-all", "call-ahead"),
        ("Carol@example.org", "main", "bad", "delivery"),
    ]


def test_filters_narrow_and_nothing_that_matches_is_code_3(operator: Operator, listed: Callable[..., Path]) -> None:
    operator.run("recipients", "import", "--primary", "main", str(listed("bob@example.org")))
    teach(operator, ("carol@example.org", Verdict.BAD), ("dave@example.org", Verdict.GOOD))
    assert addresses(operator, "--verdict", "bad") == ["carol@example.org"]
    assert addresses(operator, "--verdict", "good") == ["bob@example.org", "dave@example.org"]
    assert addresses(operator, "--source", "delivery") == ["carol@example.org", "dave@example.org"]
    assert addresses(operator, "--source", "list") == ["bob@example.org"]
    assert addresses(operator, "--domain", "EXAMPLE.org.", "--limit", "2") == ["bob@example.org", "carol@example.org"]
    for words in (("--primary", "other"), ("--domain", "example.net"), ("--verdict", "catch-all")):
        result = operator.run("recipients", "list", *words)
        assert (result.exit_code, result.stdout) == (3, "")


def test_of_nobody_nothing_is_known(operator: Operator) -> None:
    result = operator.run("recipients", "list")
    assert (result.exit_code, result.stdout) == (0, "Nothing is known of any recipient.\n")


def test_more_than_a_page_is_listed_whole_and_each_once(operator: Operator, listed: Callable[..., Path]) -> None:
    names = [f"user{number:04}@example.org" for number in range(1200)]
    operator.run("recipients", "import", "--primary", "main", str(listed(*names)))
    teach(operator, *((f"x{name}", Verdict.GOOD) for name in names[:450]))
    assert addresses(operator) == names + [f"x{name}" for name in names[:450]]


def test_the_lists_are_shown_with_their_age(operator: Operator, listed: Callable[..., Path]) -> None:
    path = listed("bob@example.org")
    configure(operator, f'recipients_file = "{path}"')
    assert [row["state"] for row in operator.json("recipients", "list", "--lists")] == ["not read yet", "none"]
    operator.run("recipients", "import", "--primary", "main")
    (row,) = operator.json("recipients", "list", "--lists", "--primary", "main")
    assert (row["list"], row["addresses"], row["state"]) == (str(path), 1, "fresh")
    configure(operator, 'recipients_refresh = "100ms"\nrecipients_stale_after = "101ms"')
    time.sleep(0.11)
    (row,) = operator.json("recipients", "list", "--lists", "--primary", "main")
    assert row["state"] == "stale"
    table = operator.run("recipients", "list", "--lists").stdout.splitlines()
    assert table[0].split("\t") == ["PRIMARY", "LIST", "ADDRESSES", "CHANGED", "CONFIRMED", "STATE"]


# verify ---------------------------------------------------------------------------------------------------------


def test_the_primary_is_asked_now_and_its_answer_is_kept(operator: Operator, primary: FakePrimary) -> None:
    (answer,) = operator.json("recipients", "verify", "bob@example.org")
    assert (answer["verdict"], answer["source"], answer["answer_in_an_outage"]) == ("good", "call-ahead", None)
    assert answer["asked"] == {"verdict": "good", "detail": "250 2.1.5 Ok"}
    assert primary.messages == []
    primary.go_away()
    (kept,) = operator.json("recipients", "verify", "--no-ask", "bob@example.org")
    assert (kept["verdict"], kept["asked"]) == ("good", None)


def test_a_recipient_that_the_primary_has_not_is_told_with_the_answer_in_an_outage(
    operator: Operator, primary: FakePrimary
) -> None:
    result = operator.run("recipients", "verify", "carol@example.org")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("carol@example.org at main: bad (call-ahead), ")
    assert lines[1] == "In an outage it is answered 550 5.1.1 No such recipient here."
    assert [line.split("\t")[:2] for line in lines[2:6]] == [
        ["SOURCE", "VERDICT"],
        ["asked now", "bad"],
        ["call-ahead", "bad"],
        ["call-ahead", "bad"],
    ]


def test_each_source_is_shown_beside_what_it_comes_to(
    operator: Operator, primary: FakePrimary, listed: Callable[..., Path]
) -> None:
    operator.run("recipients", "import", "--primary", "main", str(listed("carol@example.org")))
    (answer,) = operator.json("recipients", "verify", "carol@example.org")
    assert (answer["verdict"], answer["source"]) == ("good", "list")
    assert [(each["source"], each["verdict"]) for each in answer["sources"]] == [
        ("list", "good"),
        ("call-ahead", "bad"),
        ("call-ahead", "bad"),
    ]


def test_a_catch_all_is_found(operator: Operator, primary: FakePrimary) -> None:
    primary.sink.replies["rcpt"] = "250 2.1.5 Ok"
    (answer,) = operator.json("recipients", "verify", "whoever@example.org")
    assert (answer["verdict"], answer["asked"]["verdict"]) == ("catch-all", "catch-all")


def test_a_primary_that_does_not_answer_is_code_5_and_what_is_known_is_shown(
    operator: Operator, primary: FakePrimary
) -> None:
    primary.go_away()
    teach(operator, ("bob@example.org", Verdict.GOOD))
    result = operator.run("recipients", "verify", "bob@example.org", "--json")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["verdict"], answer["asked"]["verdict"]) == (5, "good", "unknown")
    assert answer["asked"]["detail"].startswith("connect: ")


def test_an_address_in_no_configured_domain_is_code_3(operator: Operator, primary: FakePrimary) -> None:
    result = operator.run("recipients", "verify", "bob@example.com")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "fallback-mx: example.com is a domain of no primary\n"
    assert operator.run("recipients", "verify", "bob@example.com", "bob@example.org").exit_code == 5


# forget ---------------------------------------------------------------------------------------------------------


def test_an_address_is_forgotten_and_the_others_are_not(operator: Operator) -> None:
    teach(operator, ("bob@example.org", Verdict.GOOD), ("carol@example.org", Verdict.BAD))
    result = operator.run("recipients", "forget", "carol@example.org")
    assert (result.exit_code, result.stdout) == (0, "1 lesson forgotten.\n")
    assert addresses(operator) == ["bob@example.org"]
    assert operator.run("recipients", "forget", "carol@example.org").exit_code == 3


def test_a_catch_all_is_forgotten_by_its_name_in_the_list(operator: Operator) -> None:
    teach(operator, ("*@example.org", Verdict.CATCH_ALL), ("bob@example.org", Verdict.GOOD))
    assert operator.run("recipients", "forget", "*@example.org").exit_code == 0
    assert addresses(operator) == ["bob@example.org"]


def test_filters_say_what_is_forgotten_however_much_it_is(operator: Operator) -> None:
    teach(operator, ("carol@example.org", Verdict.BAD))
    teach(operator, *((f"user{number}@example.org", Verdict.GOOD) for number in range(400)))
    assert operator.json("recipients", "forget", "--primary", "main", "--verdict", "good") == [{"forgotten": 400}]
    assert addresses(operator) == ["carol@example.org"]


def test_a_list_is_forgotten_as_a_whole_and_lessons_stay(operator: Operator, listed: Callable[..., Path]) -> None:
    operator.run("recipients", "import", "--primary", "main", str(listed("bob@example.org")))
    teach(operator, ("carol@example.org", Verdict.BAD))
    result = operator.run("recipients", "forget", "--primary", "main", "--source", "list")
    assert (result.exit_code, result.stdout) == (0, "The list of main is forgotten.\n")
    assert addresses(operator) == ["carol@example.org"]
    assert operator.run("recipients", "forget", "--primary", "main", "--source", "list").exit_code == 3


# Whatever goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("list",), ("import", "--primary", "main", "-"), ("verify", "bob@example.org"), ("forget", "a@b.org")]
)
def test_a_missing_database_is_code_4(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = Operator(tmp_path).run("recipients", *words)
    assert (result.exit_code, result.stdout) == (4, "")


def test_a_database_without_these_tables_says_what_to_do_and_db_migrate_does_it(tmp_path: Path) -> None:
    from fallback_mx.outages.schema import MIGRATIONS
    from mxqueue import Queue
    from mxqueue.migrate import QUEUE

    operator = Operator(tmp_path)
    Queue.open(operator.url, node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS)).close()
    result = operator.run("recipients", "list")
    assert result.exit_code == 4
    assert "fallback-mx db migrate" in result.stderr
    assert operator.run("db", "migrate").exit_code == 0
    assert operator.run("recipients", "list").exit_code == 0


@pytest.mark.parametrize("command", ["list", "import", "verify", "forget"])
def test_help_shows_examples(operator: Operator, command: str) -> None:
    result = operator.run("recipients", command, "--help")
    assert result.exit_code == 0
    assert f"fallback-mx recipients {command}" in result.stdout.partition("Examples:")[2]
