"""`fallback-mx queue export|import`: mail into files and back, octet by octet, on record, and once."""

from __future__ import annotations

import json
import pwd
from os import getuid
from pathlib import Path
from typing import Any

import pytest

from mxqueue import BytesContent, Envelope, RecipientState, ReportRequest
from tests.fakes.operator import Operator

LETTER = b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\n.dot\r\n\xff\xfe\r\n"
TRACE = b"Received: from client.example.com ([192.0.2.1])\r\n\tby mx2.example.com; Sun, 1 Mar 2026 12:00:00 +0000\r\n"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "exported"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Operator:
    """Another queue, which serves the same domains."""
    (tmp_path / "elsewhere").mkdir()
    return Operator(tmp_path / "elsewhere").create()


def accept_all(operator: Operator) -> str:
    """A message with everything that an envelope can have."""
    envelope = Envelope(
        reverse_path="alice@example.com",
        forward_paths=("bob@example.org", "carol@example.org"),
        route="main",
        client_address="192.0.2.1",
        helo="client.example.com",
        trace=TRACE,
        body="8BITMIME",
        smtputf8=True,
        ret="HDRS",
        envid="QQ+2B1",
        report_requests=(ReportRequest("NEVER"), ReportRequest("FAILURE,DELAY", "rfc822;first@example.org")),
    )
    queue = operator.open()
    (queue_id,) = queue.accept([envelope], BytesContent(LETTER)).result()
    queue.close()
    return queue_id


def whole(operator: Operator, queue_id: str) -> dict[str, Any]:
    """All that is kept of a message but its id, its times and its story."""
    queue = operator.open()
    message, _ = queue.show(queue_id).result()
    content = b"".join(queue.content(queue_id).result().chunks())
    queue.close()
    of_message = ("reverse_path", "client_address", "helo", "trace", "body", "smtputf8", "ret", "envid", "route")
    of_recipient = ("forward_path", "state", "notify", "orcpt")
    return {name: getattr(message, name) for name in of_message} | {
        "content": content,
        "recipients": [[getattr(each, name) for name in of_recipient] for each in message.recipients],
    }


def envelope_of(directory: Path, queue_id: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((directory / f"{queue_id}.json").read_bytes())
    return read


def rewrite(directory: Path, queue_id: str, **fields: object) -> None:
    """An envelope that somebody has changed by hand."""
    changed = envelope_of(directory, queue_id) | fields
    (directory / f"{queue_id}.json").write_text(json.dumps(changed))


# --- out ----------------------------------------------------------------------------------------------------


def test_an_export_is_a_pair_of_files_with_the_content_octet_by_octet(operator: Operator, directory: Path) -> None:
    queue_id = operator.accept("bob@example.org", content=LETTER)
    result = operator.run("queue", "export", str(directory), "--all")

    assert (result.exit_code, result.stdout) == (0, f"1 message ({len(LETTER)} B) exported.\n")
    assert sorted(path.name for path in directory.iterdir()) == [f"{queue_id}.eml", f"{queue_id}.json"]
    assert (directory / f"{queue_id}.eml").read_bytes() == LETTER
    envelope = envelope_of(directory, queue_id)
    assert (envelope["id"], envelope["reverse_path"], envelope["primary"]) == (queue_id, "alice@example.com", "main")
    assert [(each["forward_path"], each["state"]) for each in envelope["recipients"]] == [
        ("bob@example.org", "pending")
    ]


def test_an_export_is_for_its_owner_alone_to_read(operator: Operator, directory: Path) -> None:
    operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    assert {path.stat().st_mode & 0o777 for path in (directory, *directory.iterdir())} == {0o700, 0o600}


def test_an_export_takes_filters_and_changes_nothing_but_the_ledger(operator: Operator, directory: Path) -> None:
    wanted, other = operator.accept(), operator.accept("dave@example.net", route="other")
    before = operator.json("queue", "list")
    operator.run("queue", "export", str(directory), "--primary", "main", "--reason", "a copy")

    assert sorted(path.stem for path in directory.iterdir()) == [wanted, wanted]
    assert operator.json("queue", "list") == before
    (shown,) = operator.json("queue", "show", wanted)
    last = shown["ledger"][-1]
    assert (last["event"], last["detail"]) == ("exported", f"to {directory}: a copy")
    assert last["actor"] == pwd.getpwuid(getuid()).pw_name
    (shown,) = operator.json("queue", "show", other)
    assert [row["event"] for row in shown["ledger"]] == ["accepted"]


def test_a_dry_run_of_an_export_writes_nothing(operator: Operator, directory: Path) -> None:
    operator.accept()
    result = operator.run("queue", "export", str(directory), "--all", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "1 message (25 B) would be exported.\n")
    assert not directory.exists()


def test_an_export_of_nothing_in_particular_is_refused(operator: Operator, directory: Path) -> None:
    operator.accept()
    assert operator.run("queue", "export", str(directory)).exit_code == 2
    assert operator.run("queue", "export", str(directory), "--primary", "other").exit_code == 3


def test_mail_that_is_damaged_is_named_and_the_rest_exported(operator: Operator, directory: Path) -> None:
    from sqlalchemy import text

    damaged, sound = operator.accept(), operator.accept()
    queue = operator.open()
    statement = text("UPDATE chunk SET octets = x'78' WHERE message_id = :id")
    queue.writer.submit(lambda connection: connection.execute(statement, {"id": damaged}) and None).result()
    queue.close()

    result = operator.run("queue", "export", str(directory), "--all")

    assert result.exit_code == 5
    assert f"{damaged} is not exported" in result.stderr
    assert sorted(path.name for path in directory.iterdir()) == [f"{sound}.eml", f"{sound}.json"]


# --- and back ----------------------------------------------------------------------------------------------------


def test_what_was_exported_comes_back_as_it_was_under_a_new_id(
    operator: Operator, elsewhere: Operator, directory: Path
) -> None:
    queue_id = accept_all(operator)
    operator.run("queue", "export", str(directory), queue_id)

    (line,) = elsewhere.json("queue", "import", str(directory))

    assert line["result"] == "imported"
    (new_id,) = line["ids"]
    assert new_id != queue_id
    # Whoever wrote the file may not choose the client that vouches for the sender.
    unknown = {"client_address": "", "helo": ""}
    assert whole(elsewhere, new_id) == whole(operator, queue_id) | unknown
    (shown,) = elsewhere.json("queue", "show", new_id)
    assert shown["ledger"][-1]["event"] == "imported"
    assert queue_id in shown["ledger"][-1]["detail"]
    assert "from 192.0.2.1 client.example.com" in shown["ledger"][-1]["detail"]


def test_a_report_for_a_stranger_is_not_imported_whatever_the_file_says(
    operator: Operator, elsewhere: Operator, directory: Path
) -> None:
    queue_id = operator.accept("bob@example.org")
    operator.run("queue", "export", str(directory), queue_id)
    envelope = directory / f"{queue_id}.json"
    forged = json.loads(envelope.read_text()) | {"primary": "reports", "reverse_path": ""}
    forged["recipients"][0]["forward_path"] = "victim@elsewhere.test"
    envelope.write_text(json.dumps(forged))

    result = elsewhere.run("queue", "import", str(directory))

    assert result.exit_code == 1
    assert "victim@elsewhere.test is refused: its domain is that of no primary" in result.stderr
    assert elsewhere.json("queue", "list") == []


@pytest.mark.parametrize(
    "change",
    [
        {"arrived_at": "0001-01-01T00:00:00+14:00"},
        {"node": "\ud800"},
        {"recipients": "[" * 100_000},
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused_and_the_others_are_taken(
    operator: Operator, elsewhere: Operator, directory: Path, change: dict[str, str]
) -> None:
    broken, good = operator.accept(), operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    envelope = directory / f"{broken}.json"
    text = json.dumps(json.loads(envelope.read_text()) | change)
    # Deep and unquoted, for the reader of JSON to fall into.
    envelope.write_text(text.replace('"[[', "[[").replace('[["', "[[") if "recipients" in change else text)

    result = elsewhere.run("queue", "import", str(directory))

    assert (result.exit_code, result.stdout) == (5, "1 message imported.\n")
    assert f"{broken}.json: " in result.stderr
    assert good not in result.stderr


@pytest.mark.parametrize("suffix", [".eml", ".json"])
def test_either_file_of_a_pair_means_both(
    operator: Operator, elsewhere: Operator, directory: Path, suffix: str
) -> None:
    queue_id = operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    assert elsewhere.run("queue", "import", str(directory / f"{queue_id}{suffix}")).exit_code == 0
    pair = [str(directory / f"{queue_id}{each}") for each in (".eml", ".json")]
    assert elsewhere.run("queue", "import", *pair, "--again").stdout == "1 message imported.\n"


def test_what_was_held_stays_held_and_what_was_delivered_is_left_out(
    operator: Operator, elsewhere: Operator, directory: Path
) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org", "erin@example.org")
    operator.run("queue", "hold", "--recipient", "carol@example.org")
    operator.run("queue", "remove", "--recipient", "bob@example.org", "--yes")
    operator.run("queue", "export", str(directory), "--all")

    (line,) = elsewhere.json("queue", "import", str(directory))

    recipients = whole(elsewhere, line["ids"][0])["recipients"]
    assert [each[:2] for each in recipients] == [
        ["carol@example.org", RecipientState.HELD],
        ["erin@example.org", RecipientState.PENDING],
    ]
    assert queue_id not in line["ids"]


def test_mail_for_two_primaries_becomes_a_message_for_each(
    operator: Operator, elsewhere: Operator, directory: Path
) -> None:
    operator.accept("bob@example.org", "dave@example.net")
    operator.run("queue", "export", str(directory), "--all")
    (line,) = elsewhere.json("queue", "import", str(directory))
    assert sorted(whole(elsewhere, each)["route"] for each in line["ids"]) == ["main", "other"]


def test_a_double_is_refused_unless_it_is_asked_for(operator: Operator, elsewhere: Operator, directory: Path) -> None:
    operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    assert operator.run("queue", "import", str(directory)).exit_code == 1, "it is still in this very queue"
    assert elsewhere.run("queue", "import", str(directory)).exit_code == 0
    second = elsewhere.run("queue", "import", str(directory))
    assert second.exit_code == 1
    assert "imported before; --again takes it all the same" in second.stderr
    assert len(elsewhere.ids()) == 1
    assert elsewhere.run("queue", "import", str(directory), "--again").exit_code == 0
    assert len(elsewhere.ids()) == 2


def test_a_dry_run_of_an_import_says_what_would_become_of_each_and_takes_nothing(
    operator: Operator, elsewhere: Operator, directory: Path
) -> None:
    operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    result = elsewhere.run("queue", "import", str(directory), "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "1 message would be imported.\n")
    assert elsewhere.ids() == []
    assert operator.run("queue", "import", str(directory), "--dry-run").exit_code == 1


def test_recipients_of_foreign_domains_are_refused_by_name_and_the_rest_is_taken(
    operator: Operator, elsewhere: Operator, directory: Path
) -> None:
    operator.accept("bob@example.org", "eve@foreign.example")
    operator.run("queue", "export", str(directory), "--all")
    result = elsewhere.run("queue", "import", str(directory))
    assert (result.exit_code, result.stdout) == (5, "1 message imported.\n")
    assert "eve@foreign.example is refused: its domain is that of no primary" in result.stderr
    (queue_id,) = elsewhere.ids()
    assert elsewhere.states(queue_id) == ["pending"]


def test_mail_for_foreign_domains_alone_is_not_taken(operator: Operator, elsewhere: Operator, directory: Path) -> None:
    operator.accept("eve@foreign.example")
    operator.run("queue", "export", str(directory), "--all")
    assert elsewhere.run("queue", "import", str(directory)).exit_code == 1
    assert elsewhere.ids() == []


@pytest.mark.parametrize("local", ['"a@b"', "user%other.example", "|program"])
def test_a_recipient_that_the_primary_might_follow_is_refused(
    operator: Operator, elsewhere: Operator, directory: Path, local: str
) -> None:
    operator.accept(f"{local}@example.org")
    operator.run("queue", "export", str(directory), "--all")
    assert "routing characters" in elsewhere.run("queue", "import", str(directory)).stderr
    assert elsewhere.ids() == []


BROKEN = {
    "another sender": {"reverse_path": "a@b>\r\nRCPT TO:<eve@foreign.example"},
    "another recipient": {"recipients": [{"forward_path": "x y", "state": "pending", "notify": "", "orcpt": ""}]},
    "no recipients": {"recipients": []},
    "another content": {"sha256": "00" * 32},
    "another format": {"format": 99},
    "no id": {"id": ""},
    "no time": {"arrived_at": "yesterday"},
    "a number for a text": {"helo": 7},
    "a trace that begins the content": {"trace": "Received: x\r\n\r\nbody\r\n"},
    "a trace that is another header line": {"trace": "Received: x\r\nBcc: eve@foreign.example\r\n"},
    "a trace without its end": {"trace": "Received: x"},
    "a trace with a bare LF": {"trace": "Received: x\n.\r\n"},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_an_envelope_that_does_not_hold_together_is_refused_with_a_reason(
    operator: Operator, elsewhere: Operator, directory: Path, change: dict[str, object]
) -> None:
    queue_id = operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    rewrite(directory, queue_id, **change)
    result = elsewhere.run("queue", "import", str(directory))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"fallback-mx: {directory / queue_id}.json: ")
    assert elsewhere.ids() == []


@pytest.mark.parametrize("octets", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r"])
def test_content_that_servers_read_differently_is_refused(
    operator: Operator, elsewhere: Operator, directory: Path, octets: bytes
) -> None:
    from hashlib import sha256

    queue_id = operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    (directory / f"{queue_id}.eml").write_bytes(octets)
    rewrite(directory, queue_id, sha256=sha256(octets).hexdigest())
    assert elsewhere.run("queue", "import", str(directory)).exit_code == 1
    assert elsewhere.ids() == []


def test_half_a_pair_and_other_files_are_named_and_the_rest_is_taken(
    operator: Operator, elsewhere: Operator, directory: Path
) -> None:
    kept, halved = operator.accept(), operator.accept()
    operator.run("queue", "export", str(directory), "--all")
    (directory / f"{halved}.json").unlink()
    (directory / "notes.txt").write_text("hello")
    result = elsewhere.run("queue", "import", str(directory))
    assert (result.exit_code, result.stdout) == (5, "1 message imported.\n")
    assert f"is missing beside {halved}.eml" in result.stderr
    assert "notes.txt: it is neither of a pair (ID.json, ID.eml) nor of Postfix" in result.stderr
    (queue_id,) = elsewhere.ids()
    assert kept in operator.ids()
    assert whole(elsewhere, queue_id)["content"] == whole(operator, kept)["content"]


def test_an_empty_directory_is_code_3(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert operator.run("queue", "import", str(tmp_path / "empty")).exit_code == 3
