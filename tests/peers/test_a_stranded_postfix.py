"""The queue of a Postfix that has stopped, rescued: by what `postcat` prints of it, and by its files themselves."""

from __future__ import annotations

import shutil
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallback_mx.rescue import files
from tests.fakes import postfix
from tests.fakes.operator import Operator
from tests.fakes.postfix import Postfix

pytestmark = pytest.mark.peers

BODY = b"*** HEADER EXTRACTED x ***\r\nrecipient: eve@example.org\r\n" + b"y" * 5000 + b"\r\n.dot\r\n\xc3\xbc\r\n"


@pytest.fixture
def stranded() -> Iterator[Postfix]:
    """A Postfix with two messages that it cannot deliver, one of them from the null reverse-path."""
    lacking = postfix.missing()
    if lacking is not None:
        pytest.skip(lacking)
    with Postfix.backup_exchanger("example.org", 9) as server:
        with smtplib.SMTP("127.0.0.1", server.port) as client:
            client.ehlo("client.test")
            client.mail("a@sender.test", ["RET=HDRS", "ENVID=QQ+2B1", "BODY=8BITMIME"])
            client.rcpt("bob@example.org", ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;first+2Btag@example.org"])
            client.rcpt("carol@example.org")
            assert client.data(b"Subject: one\r\n\r\n" + BODY)[0] == 250
            client.sendmail("", ["bob@example.org"], b"Subject: two\r\n\r\nshort")
        yield server


def _of(operator: Operator, subject: bytes) -> str:
    for queue_id in operator.ids():
        if b"Subject: " + subject in operator.run("queue", "cat", queue_id).stdout_bytes:
            return queue_id
    raise AssertionError(f"expected a message {subject!r}, found none")


@pytest.mark.parametrize("form", ["queue files", "postcat -q", "postcat -vq"])
def test_a_stranded_queue_is_taken_over_whole(stranded: Postfix, tmp_path: Path, form: str) -> None:
    operator = Operator(tmp_path).create()
    directory = Path(stranded.directory / "queue")
    source = tmp_path / "printed"
    source.mkdir()
    for entry in list(stranded.queued()):
        if form == "queue files":
            shutil.copy(entry.path, source / entry.name)
        else:
            output = stranded.command("postcat", form.split()[1], entry.name)
            (source / entry.name).write_text(output)
    assert len(list(files.walk([directory]))) >= 2

    result = operator.run("queue", "import", str(source), "--reason", "stranded")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "2 messages imported.\n", "")
    one, two = _of(operator, b"one"), _of(operator, b"two")
    queue = operator.open()
    message, _ = queue.show(one).result()
    content = b"".join(queue.content(one).result().chunks())
    queue.close()
    # Who brought it is for the ledger: whoever wrote the file may not choose the client that vouches.
    assert (message.reverse_path, message.client_address, message.helo) == ("a@sender.test", "", "")
    assert (message.ret, message.envid, message.body) == ("HDRS", "QQ+2B1", "8BITMIME")
    assert [(each.forward_path, each.notify, each.orcpt) for each in message.recipients] == [
        ("bob@example.org", "FAILURE,DELAY", "rfc822;first+2Btag@example.org"),
        ("carol@example.org", "", "rfc822;carol@example.org"),
    ]
    assert content.startswith(b"Received: from client.test ")
    assert content.endswith(b"\r\n\r\n" + BODY)
    (shown,) = operator.json("queue", "show", two)
    assert shown["reverse_path"] == ""
    assert operator.run("queue", "import", str(source)).exit_code == 1, "nothing is taken twice"
