"""What a person sees when the service cannot start: one clear line, the right exit code, nothing half-started."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.ports import free_port
from tests.fakes.relay import Relay, primary


def serve(directory: Path, **replaced: str) -> subprocess.CompletedProcess[str]:
    """Run the service on this configuration until it ends by itself."""
    values = {
        "listen": f"127.0.0.1:{free_port()}",
        "http": f"127.0.0.1:{free_port()}",
        "url": f"sqlite:///{directory}/queue.db",
        "interval": "1s",
        **replaced,
    }
    config = directory / "fallback-mx.toml"
    config.write_text(
        f'[server]\nhostname = "mx2.example.net"\nlisten = ["{values["listen"]}"]\n'
        f'[storage]\nurl = "{values["url"]}"\n[http]\nlisten = "{values["http"]}"\n'
        f'[[primary]]\nname = "main"\ndomains = ["example.test"]\nhost = "127.0.0.1"\nport = 1\n'
        f'interval = "{values["interval"]}"\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FALLBACK_MX_")}
    return subprocess.run(
        [sys.executable, "-m", "fallback_mx", "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line it says for itself, log lines left out."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("fallback-mx: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_a_bad_configuration(tmp_path: Path) -> None:
    done = serve(tmp_path, interval="soon")
    assert done.returncode == 2
    assert "interval" in complaint(done)
    assert not (tmp_path / "queue.db").exists()


@pytest.mark.parametrize("key", ["listen", "http"])
def test_a_busy_port(tmp_path: Path, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        done = serve(tmp_path, **{key: address})
        assert done.returncode == 1
        assert address in complaint(done)
        assert "in use" in complaint(done)


def test_an_unwritable_data_directory(tmp_path: Path) -> None:
    done = serve(tmp_path, url=f"sqlite:///{tmp_path}/missing/queue.db")
    assert done.returncode == 4
    assert f"{tmp_path}/missing" in complaint(done)


def test_a_database_server_that_cannot_be_reached(tmp_path: Path) -> None:
    done = serve(tmp_path, url=f"postgresql+psycopg://mx:secret@127.0.0.1:{free_port()}/mx")
    assert done.returncode == 4
    assert "secret" not in done.stderr
    assert "storage.url" in complaint(done)


def test_a_newer_schema(tmp_path: Path) -> None:
    from sqlalchemy import text

    from mxqueue import Queue
    from mxqueue.engine import make_engine

    url = f"sqlite:///{tmp_path}/queue.db"
    Queue.open(url, node="n", exclusive=True).close()
    engine = make_engine(url, writes=True)
    with engine.begin() as connection:
        connection.execute(text("UPDATE mxqueue_version SET version_num = '9999'"))
    engine.dispose()
    done = serve(tmp_path, url=url)
    assert done.returncode == 1
    assert "9999" in complaint(done)


def test_a_second_service_on_the_same_file_is_refused_and_the_first_is_not_harmed(tmp_path: Path) -> None:
    """FAULTS 14."""
    with Relay(primary(free_port())) as relay:
        done = serve(tmp_path, url=relay.url)
        assert done.returncode == 1
        assert "another service" in complaint(done)
        assert relay.status()["primaries"][0]["name"] == "main"


def test_a_primary_that_has_addresses_with_routing_characters_gets_its_mail() -> None:
    with (
        Relay(
            {**primary(1), "routing_characters": "accept"}, {**primary(1), "name": "other", "domains": ["other.test"]}
        ) as relay,
        smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as client,
    ):
        client.ehlo()
        client.mail("a@sender.test")
        assert client.rcpt("odd%name@example.test")[0] == 250
        assert client.rcpt("odd%name@other.test")[0] == 553


def test_a_change_that_wants_a_restart_is_named_while_it_is_in_the_file_and_no_longer() -> None:
    with Relay(primary(1)) as relay:
        written = relay.config_file.read_text()

        def reload(text: str) -> list[str]:
            before = relay.log_file.read_text()
            relay.config_file.write_text(text)
            os.kill(relay.pid, signal.SIGHUP)
            relay.wait_for(lambda: "config_reloaded" in relay.log_file.read_text()[len(before) :], "it is reloaded")
            return [line for line in relay.log_file.read_text()[len(before) :].splitlines() if "has changed" in line]

        other = written.replace(f"127.0.0.1:{relay.port}", f"127.0.0.1:{free_port()}")
        assert len(reload(other)) == 1
        assert len(reload(other)) == 1
        assert reload(written) == []
