"""Logging in to a primary that wants it, and what happens where that fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp import login
from fallback_mx.smtp.dial import DialSettings, connect
from fallback_mx.smtp.login import Login
from fallback_mx.smtp.offered import Offered
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Act, Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.identities import Identity
from tests.fakes.parcels import MemoryParcel
from tests.fakes.trusting_sink import PASSWORD, USERNAME, TrustingSink

QUICK = Timeouts(connect=5, banner=0.3, command=0.3, quit=1)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return path


def settings(path: Path, username: str = USERNAME, tls: TlsPolicy = TlsPolicy.NONE) -> DialSettings:
    return DialSettings("mx2.test", tls=tls, login=Login(username, path), timeouts=QUICK)


def deliver(sink: Sink, how: DialSettings, host: str = "127.0.0.1") -> list[bytes]:
    """Deliver one message; the commands that came."""

    async def run() -> list[bytes]:
        await sink.start(host)
        try:
            courier = await connect(NextHop(host, sink.port), how)
            await courier.deliver(MemoryParcel(b"hello\r\n"))
            await courier.quit()
        finally:
            await sink.stop()
        return sink.commands

    return asyncio.run(run())


def failure(sink: Sink, how: DialSettings) -> NoConnection:
    with pytest.raises(NoConnection) as caught:
        deliver(sink, how)
    assert not any(line.startswith(b"MAIL") for line in sink.commands), "mail went without the login"
    return caught.value


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_each_mechanism_lets_us_in(password_file: Path, mechanism: str) -> None:
    sink = TrustingSink(f"AUTH {mechanism}")
    commands = deliver(sink, settings(password_file))
    assert commands[1].startswith(f"AUTH {mechanism}".encode())
    assert sink.message_count == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_wrong_password_is_said_once_and_ends_the_connection(tmp_path: Path, mechanism: str) -> None:
    path = tmp_path / "password"
    path.write_text("wrong")
    sink = TrustingSink(f"AUTH {mechanism} PLAIN LOGIN CRAM-MD5")
    error = failure(sink, settings(path))
    assert (error.phase, error.is_ours) == ("auth", False)
    assert error.detail == "backup was not let in: 535 5.7.8 Not you"
    assert sum(line.startswith(b"AUTH") for line in sink.commands) == 1
    assert "wrong" not in str(error)


def test_the_next_mechanism_is_tried_where_the_server_does_not_know_the_first_after_all(password_file: Path) -> None:
    def only_login(_session: object, mechanism: str) -> str | None:
        return "504 5.5.4 Not this one" if mechanism == "PLAIN" else None

    sink = TrustingSink("AUTH PLAIN LOGIN", replies={"auth": only_login})
    deliver(sink, settings(password_file))
    assert sink.message_count == 1


def test_a_server_that_offers_no_known_mechanism_is_named_with_what_it_offers(password_file: Path) -> None:
    error = failure(TrustingSink("AUTH GSSAPI XOAUTH2"), settings(password_file))
    assert (error.phase, error.detail) == (
        "auth",
        "the server offers no way to log in that is known here (it offers GSSAPI, XOAUTH2)",
    )
    assert "none at all" in failure(TrustingSink(), settings(password_file)).detail


@pytest.mark.parametrize("answer", [Act.DROP, Act.SILENT, "421 4.3.2 Going", b"235 ok\r\n250 ok\r\n", b"hello\r\n"])
def test_a_server_that_fails_or_babbles_in_the_login_is_left(password_file: Path, answer: Act | str | bytes) -> None:
    error = failure(TrustingSink("AUTH PLAIN", replies={"auth": answer}), settings(password_file))
    assert error.phase == "auth"


def test_a_challenge_that_is_none_is_given_up(password_file: Path) -> None:
    sink = TrustingSink("AUTH CRAM-MD5", replies={"auth": "334 %%%"})
    assert failure(sink, settings(password_file)).phase == "auth"


def test_the_login_comes_after_tls_and_what_was_offered_before_counts_no_more(password_file: Path) -> None:
    sink = TrustingSink("AUTH PLAIN", tls=Identity("127.0.0.1").context)
    commands = deliver(sink, settings(password_file, tls=TlsPolicy.REQUIRE))
    assert [line.partition(b" ")[0] for line in commands[:4]] == [b"EHLO", b"STARTTLS", b"EHLO", b"AUTH"]


def test_the_password_is_not_sent_in_clear_to_another_address(password_file: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("a network namespace wants root, unshare (Debian package: util-linux) and ip (iproute2)")
    said = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.fakes.elsewhere", str(password_file)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()
    assert said == (
        "auth: the connection is not encrypted, and the password is not sent in clear: set tls; EHLO mx2.test"
    )


def test_a_login_that_anybody_could_listen_to_is_not_begun(password_file: Path) -> None:

    async def run() -> None:
        await login.log_in(None, Offered(), Login(USERNAME, password_file), is_private=False)  # type: ignore[arg-type]

    with pytest.raises(NoConnection) as caught:
        asyncio.run(run())
    assert (caught.value.phase, "not sent in clear" in caught.value.detail) == ("auth", True)


def test_the_password_is_read_again_for_every_connection(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("old")
    assert failure(TrustingSink("AUTH PLAIN"), settings(path)).phase == "auth"
    path.write_text(PASSWORD, encoding="utf-8")
    assert deliver(TrustingSink("AUTH PLAIN"), settings(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file or directory"), (b"", "its first line is empty"), (b"\n\n", "its first line is empty"),
     (b"\xff", "is not UTF-8 text")],
)  # fmt: skip
def test_a_password_that_cannot_be_read_is_our_own_trouble(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
        path.chmod(stat.S_IRUSR)
    error = failure(TrustingSink("AUTH PLAIN"), settings(path))
    assert (error.phase, error.is_ours) == ("ours", True)
    assert error.detail == f"password_file {path}: {reason}"
