"""Lists from real files, real commands and a real web server."""

from __future__ import annotations

import base64
import io
import os
import shlex
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from fallback_mx.recipients.sources import (
    CommandSource,
    Copy,
    FileSource,
    Limits,
    Source,
    SourceFailed,
    UrlSource,
)
from tests.fakes.web import FakeWeb

LIST = b"bob@example.org\nalice@example.org\n"


def read(source: Source, limits: Limits | None = None, is_stopping=lambda: False) -> bytes:
    spool = io.BytesIO()
    source.copy(Copy(spool, limits or Limits(seconds=30.0), is_stopping))
    return spool.getvalue()


def failure(source: Source, limits: Limits | None = None, is_stopping=lambda: False) -> str:
    with pytest.raises(SourceFailed) as caught:
        read(source, limits, is_stopping)
    assert caught.value.advice
    return str(caught.value)


def program(code: str, *words: str) -> CommandSource:
    return CommandSource((sys.executable, "-c", code, *words))


# A file ---------------------------------------------------------------------------------------------------------


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "recipients"
    path.write_bytes(LIST * 10_000)
    assert read(FileSource(path)) == LIST * 10_000


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    assert failure(FileSource(tmp_path / "none")) == f"{tmp_path}/none: there is no such file"
    assert failure(FileSource(tmp_path)) == f"{tmp_path}: is not a file"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert failure(FileSource(tmp_path / "pipe")) == f"{tmp_path}/pipe: is not a file"


def test_a_file_that_is_too_large_is_left(tmp_path: Path) -> None:
    path = tmp_path / "recipients"
    path.write_bytes(b"x" * 2000)
    assert failure(FileSource(path), Limits(octets=1000)) == "it is larger than 1kB"


# A command ------------------------------------------------------------------------------------------------------


def test_what_a_command_prints_is_the_list_and_no_shell_reads_its_words() -> None:
    source = program("import sys; print(sys.argv[1:])", "$HOME; *", "b")
    assert read(source) == b"['$HOME; *', 'b']\n"


def test_a_command_that_fails_is_told_with_what_it_said_and_its_output_does_not_count() -> None:
    code = "import sys; print('bob@example.org'); sys.stderr.write('no\\x1b[31m database\\n'); sys.exit(3)"
    assert failure(program(code)) == f"{sys.executable} ended with exit code 3: no\\x1b[31m database"


def test_a_command_that_dies_is_told_by_its_signal() -> None:
    assert failure(program("import os; os.kill(os.getpid(), 9)")) == f"{sys.executable} ended with signal 9"


def test_a_command_that_is_not_there_is_told() -> None:
    assert failure(CommandSource(("/nowhere/list",))) == "/nowhere/list: No such file or directory"


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return  # its parent, which is not us, has not looked yet
        time.sleep(0.02)
    raise AssertionError(f"{pid} is still there")


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 300 & echo $! > {shlex.quote(str(child))}; echo bob@example.org; wait"
    assert failure(CommandSource(("/bin/sh", "-c", script)), Limits(seconds=0.5)) == "it took longer than 0.5 s"
    wait_until_gone(int(child.read_text()))


def test_a_command_that_closes_its_output_and_stays_is_ended_too() -> None:
    script = "exec 1>&- 2>&-; sleep 300"
    assert failure(CommandSource(("/bin/sh", "-c", script)), Limits(seconds=0.5)) == "it took longer than 0.5 s"


def test_a_command_that_never_stops_printing_is_ended() -> None:
    code = "import sys\nwhile True: sys.stdout.write('x' * 10000)"
    assert failure(program(code), Limits(seconds=30, octets=1_000_000)) == "it is larger than 1MB"


def test_a_command_that_says_much_on_standard_error_does_not_hang() -> None:
    code = "import sys; sys.stderr.write('x' * 1000000); print('bob@example.org')"
    assert read(program(code)) == b"bob@example.org\n"


def test_a_command_ends_when_the_service_stops() -> None:
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    assert failure(program("import time; time.sleep(300)"), None, stopping.is_set) == "the service is stopping"


# A URL ----------------------------------------------------------------------------------------------------------


def test_a_page_is_read_whole() -> None:
    with FakeWeb(LIST * 10_000) as web:
        assert read(UrlSource(web.url())) == LIST * 10_000


def test_user_and_password_are_sent_and_shown_nowhere() -> None:
    with FakeWeb(LIST, status=403) as web:
        source = UrlSource(web.url("/list?token=geheim", user="mx:s3%40cret@"))
        said = failure(source)
    assert said == f"http://127.0.0.1:{web.port}/list: HTTP status 403"
    assert "s3" not in source.origin and "geheim" not in source.origin
    path, headers = web.requests[0]
    assert path == "/list?token=geheim"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"mx:s3@cret").decode()


@pytest.mark.parametrize("status", [204, 304, 404, 500, 503])
def test_any_status_but_success_is_told(status: int) -> None:
    with FakeWeb(b"", status=status) as web:
        if status == 204:
            assert read(UrlSource(web.url())) == b""
        else:
            assert failure(UrlSource(web.url())).endswith(f"HTTP status {status}")


def test_a_redirect_is_not_followed() -> None:
    with FakeWeb(LIST) as other, FakeWeb(b"", status=302) as web:
        web.headers["Location"] = other.url()
        assert failure(UrlSource(web.url())).endswith(f"HTTP status 302 to {other.url()}")
        assert other.requests == []


def test_a_page_that_is_cut_short_does_not_count() -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(LIST)

    with FakeWeb() as web:
        web.answer = cut
        assert "did not come" in failure(UrlSource(web.url()))


def test_a_page_that_trickles_is_given_up() -> None:
    done = threading.Event()

    def trickle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not done.wait(0.02):
            request.wfile.write(b"x")
            request.wfile.flush()

    with FakeWeb() as web:
        web.answer = trickle
        assert failure(UrlSource(web.url()), Limits(seconds=0.5)) == "it took longer than 0.5 s"
        done.set()


def test_a_page_that_is_too_large_is_left() -> None:
    with FakeWeb(b"x" * 2000) as web:
        assert failure(UrlSource(web.url()), Limits(octets=1000)) == "it is larger than 1kB"


def test_what_is_no_web_server_is_told() -> None:
    with FakeWeb() as web:
        port = web.port
    assert failure(UrlSource(f"http://127.0.0.1:{port}/list")).startswith(f"http://127.0.0.1:{port}/list: ")


def test_a_certificate_that_nobody_trusts_is_not_trusted() -> None:
    import ssl

    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FakeWeb(LIST) as web:
        web._server.socket = context.wrap_socket(web._server.socket, server_side=True, do_handshake_on_connect=False)
        assert "certificate" in failure(UrlSource(f"https://127.0.0.1:{web.port}/list")).lower()
